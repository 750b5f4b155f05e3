"""demo: a page to draw masks on, and what a trained generator makes of them."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

HOST, PORT = "127.0.0.1", 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"of the page ({PORT}); 0: any free one")
    text = f"address to serve ({HOST}: this machine alone); 0.0.0.0 lets all who reach it see training images"
    parser.add_argument("--host", default=HOST, metavar="ADDRESS", help=text)
    parser.add_argument("--device", help="such as cpu or cuda:1; a GPU where there is one without it")


def run(item: dict[str, Any]) -> None:
    """Serve the page of the project in this folder until Ctrl-C.

    Raises: UserError when the project has no generator for given masks, and when the port cannot be had.
    """
    sys.stderr.write("starting: PyTorch is read first\n")
    from pipeline.demo.server import PageServer

    with PageServer(Path(), item["host"], item["port"], item["device"]) as server:
        sys.stdout.write(f"the page is at {server.url}; Ctrl-C ends it\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("ended\n")
            sys.stderr.flush()
    if server.drawing.locked():
        os._exit(0)  # what is being drawn: Python's own end, with a thread in PyTorch, is a crash
