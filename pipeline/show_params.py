"""python -m pipeline params: check params.yaml and print it with every default filled in."""

import io
from pathlib import Path
from typing import TextIO

from ruamel.yaml import YAML

from pipeline.params import read_params


def show_params(path: Path, out: TextIO) -> None:
    """Write the resolved parameters as YAML. Raises: UserError with every problem of the file."""
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    text = io.StringIO()
    yaml.dump(read_params(path).model_dump(mode="json"), text)
    out.write(text.getvalue())
