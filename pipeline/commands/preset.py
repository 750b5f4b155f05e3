"""preset: params.yaml from a file of presets/."""

import argparse
import sys
from pathlib import Path
from typing import Any

from data.pairs.files import write_text
from pipeline.params.presets import composed, preset_names
from pipeline.params.read import check_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="as it is listed without one")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"))


def run(item: dict[str, Any]) -> None:
    """Write a preset as params.yaml, or print the names there are. Raises: UserError with every problem of it."""
    name = item["name"]
    if name is None:
        sys.stdout.write("\n".join([*preset_names(), ""]))
        return
    text = composed(Path(name))
    check_text(text, Path(name))
    write_text(item["out"], text)
