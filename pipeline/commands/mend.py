"""mend: dvc.lock as it was when it last was whole, after a kill of plain dvc has cut it."""

import argparse
import sys
from typing import Any

from pipeline.record import lock_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the verb has no options."""


def run(item: dict[str, Any]) -> None:
    """Mend and print what was done. Raises: UserError when a DVC is at work."""
    sys.stdout.write("\n".join([*(lock_file.mend() or ["nothing is broken"]), ""]))
