"""Floor 4: the stages of dvc.yaml, thin: parameters to one call to files."""

import os
import sys


def _drop_strange_folder() -> None:
    """Import nothing from the folder that this is run in unless it is the project's: it may hold another PIL.py."""
    project = os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir))
    here = os.path.realpath(os.curdir)
    if here != project:
        sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != here]


_drop_strange_folder()
