"""params: check params.yaml and print it with every default filled in."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from data.pairs.errors import redacted
from pipeline.params.read import read_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the option of the verb."""
    parser.add_argument("--file", type=Path, default=Path("params.yaml"))


def run(item: dict[str, Any]) -> None:
    """Print the resolved parameters as YAML, addresses without their secrets. Raises: UserError with every problem."""
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    data = read_params(item["file"]).model_dump(mode="json")
    for row in data["downloads"].values():
        for archive in row["archives"]:
            archive["url"] = redacted(archive["url"])
    yaml.dump(data, sys.stdout)
