"""python -m pipeline params: check params.yaml and print it with every default filled in."""

import io
from pathlib import Path
from typing import TextIO

from ruamel.yaml import YAML

from data.acquire.config import redacted
from pipeline.params.read import read_params


def show_params(path: Path, out: TextIO) -> None:
    """Write the resolved parameters as YAML, addresses without their secrets.

    Raises: UserError with every problem of the file.
    """
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    text = io.StringIO()
    data = read_params(path).model_dump(mode="json")
    for row in data["downloads"].values():
        for archive in row["archives"]:
            archive["url"] = redacted(archive["url"])
    yaml.dump(data, text)
    out.write(text.getvalue())
