"""weights: list the pretrained weights of the paper's scores, and fetch those that are missing."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluation.features.weights import Found

PARAMS = Path("params.yaml")
DEFAULT_FOLDER = "weights"  # where no params.yaml says otherwise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a weight file; all without it")
    parser.add_argument("--fetch", action="store_true", help="download what is missing or altered; goes on if it broke")
    parser.add_argument("--dir", type=Path, metavar="FOLDER", help="in place of METRIC_WEIGHTS or features.weights_dir")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _folder(given: Path | None) -> Path:
    from evaluation.features.weights import VARIABLE, weights_folder
    from pipeline.params.read import read_params

    if given:
        return given
    if os.environ.get(VARIABLE) or not PARAMS.is_file():
        return weights_folder(DEFAULT_FOLDER)
    return weights_folder(read_params(PARAMS).features.weights_dir)


def _table(found: Mapping[str, "Found"], folder: Path, given: Path | None) -> str:
    from evaluation.features.weights import WEIGHTS, fetch_command, megabytes

    lines = [f"weights in {folder}"]
    for name, one in found.items():
        file = WEIGHTS[name]
        note = " (no published hash; held to that of its first use)" if one.state == "unverified" else ""
        lines += [
            f"{name:10} {one.state:10} {megabytes(file):>8}  for {file.used_for}, extractor {file.extractor}{note}",
            f"{'':10} {one.path}",
            f"{'':10} {file.licence}: {file.page}",
        ]
    wanted = [name for name, one in found.items() if one.state in ("missing", "altered")]
    if wanted:
        lines.append(f"to get what is missing: {fetch_command(wanted)}{f' --dir {given}' if given else ''}")
    return "\n".join(lines) + "\n"


def _json(found: Mapping[str, "Found"], folder: Path) -> str:
    from evaluation.features.weights import WEIGHTS

    files = {
        name: {
            **WEIGHTS[name].model_dump(exclude={"sha256"}),
            "state": one.state,
            "path": str(one.path),
            "sha256": one.sha256,
            "sha256_published": WEIGHTS[name].sha256,
        }
        for name, one in found.items()
    }
    return json.dumps({"folder": str(folder), "files": files}, indent=2) + "\n"


def run(item: dict[str, Any]) -> None:
    """Fetch what is missing if asked, and print the state of every file named, or of all.

    Raises: UserError for unknown names, and for files that could not be had.
    """
    from data.pairs.errors import UserError
    from evaluation.features.weights import WEIGHTS, look
    from pipeline.commands.weights_download import fetch_weights
    from pipeline.params.errors import dangling

    names = list(dict.fromkeys(item["names"])) or list(WEIGHTS)
    unknown = [dangling("weights", name, WEIGHTS) for name in names if name not in WEIGHTS]
    if unknown:
        raise UserError("no such weight files", unknown)
    folder = _folder(item["dir"])
    if item["fetch"]:
        fetch_weights(names, folder)
    found = {name: look(WEIGHTS[name], folder) for name in names}
    sys.stdout.write(_json(found, folder) if item["json"] else _table(found, folder, item["dir"]))
