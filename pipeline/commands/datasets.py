"""datasets: the rows of known data sets, listed, printed, or put into params.yaml."""

import argparse
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from data.acquire.catalogue import read_catalogue
from data.config_errors import dangling
from data.pairs.errors import UserError
from data.pairs.files import write_text

SECTIONS = ("downloads", "datasets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("--add", action="store_true", help="write the rows into params.yaml")
    parser.add_argument("--file", type=Path, default=Path("params.yaml"))


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096  # a line of the file stays a line
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _text(data: Mapping[str, Any]) -> str:
    text = io.StringIO()
    _yaml().dump(data, text)
    return text.getvalue()


def rows_of(name: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a data set and of its download, by section. Raises: UserError for an unknown name."""
    catalogue = read_catalogue()
    if name not in catalogue["datasets"]:
        raise UserError(dangling("datasets", name, catalogue["datasets"]))
    row = catalogue["datasets"][name]
    parts = Path(row["path"]).parts
    downloads = {parts[2]: catalogue["downloads"][parts[2]]} if parts[:2] == ("data", "raw") else {}
    return ({"downloads": downloads} if downloads else {}) | {"datasets": {name: row}}


def _add(name: str, path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the folder that holds params.yaml, or give --file")
    rows = rows_of(name)
    yaml = _yaml()
    try:
        data = yaml.load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML", str(error).splitlines()) from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds no sections; start from the params.yaml of the repository")
    if name in (data.get("datasets") or {}):
        raise UserError(f"{path}: datasets.{name} is there already")
    for section, added in rows.items():
        if not data.get(section):
            data[section] = {}
        for key, row in added.items():
            data[section].setdefault(key, row)
    write_text(path, _text(data))
    sys.stdout.write(f"{path}: added {', '.join(f'{section}.{key}' for section in rows for key in rows[section])}\n")


def _table() -> str:
    lines = []
    for name, row in read_catalogue()["datasets"].items():
        counts = ", ".join(f"{split} {count}" for split, count in row.get("expect", {"pairs": "not counted"}).items())
        terms = [download["licence"] for download in rows_of(name).get("downloads", {}).values()]
        lines.append(f"{name:20} {counts}" + "".join(f"\n{'':20} {licence}" for licence in terms))
    return "\n".join(lines) + "\n"


def run(item: dict[str, Any]) -> None:
    """Print all names, or the rows of one, or write these into `file`. Raises: UserError for a wrong name or file."""
    if item["name"] is None:
        sys.stdout.write(_table())
    elif item["add"]:
        _add(item["name"], item["file"])
    else:
        sys.stdout.write(_text(rows_of(item["name"])))
