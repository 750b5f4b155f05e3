"""preset: params.yaml from a file of presets/."""

import sys
from pathlib import Path

from data.pairs.files import write_text
from pipeline.params.presets import composed, preset_names
from pipeline.params.read import check_text


def run(name: str | None, out: Path) -> None:
    """Write params.yaml, after checking that the preset is valid; without a name, print the names there are.

    Raises: UserError when there is no such preset, or with every problem of it.
    """
    if name is None:
        sys.stdout.write("\n".join([*preset_names(), ""]))
        return
    text = composed(Path(name))
    check_text(text, Path(name))
    write_text(out, text)
