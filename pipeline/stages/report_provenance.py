"""Where a report comes from: commit, lock file, versions, machine, data sets with their terms."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

from data.acquire.catalogue import terms_of

LOCK = Path("dvc.lock")
CODE = ("*.py", "*.yaml", "*.j2", *(f":(exclude){name}" for name in ("results", "tests", "benchmarks", "presets")))


def provenance(params, versions: Mapping[str, str]) -> dict[str, str]:
    """Return name -> text, in the order of the page. The same run on the same machine gives the same text.

    Times are not in here, because they differ from run to run: `python -m pipeline times` has them.
    """
    found = (
        {"code": _commit(), "stages before the report": _lock()} | dict(versions) | {"machine of this page": _machine()}
    )
    for name, row in params.datasets.items():
        terms = terms_of(row.model_dump(mode="json"), params.downloads)
        told = "drawn by this project" if row.kind == "phantom" else terms["licence"] or "terms are not stated"
        found[f"data set {name}"] = f"{row.kind}, {row.path}; {told}"
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def _commit() -> str:
    """Return the commit, "-dirty" if tracked code or params differ from it: what a run writes itself does not count."""
    commit = _git("describe", "--always")
    dirty = _git("diff", "--name-only", "HEAD", "--", *CODE)
    return f"{commit}-dirty" if commit and dirty else commit or "not a git checkout"


def _lock() -> str:
    """Return a hash of dvc.lock without the report's own entry: what all stages read, in whatever order they ran."""
    if not LOCK.is_file():
        return "no dvc.lock: not run by DVC"
    stages = YAML(typ="safe").load(LOCK.read_text(encoding="utf-8")).get("stages", {})
    stages.pop("report", None)
    text = json.dumps(stages, sort_keys=True, default=str)
    return f"{len(stages)} in dvc.lock, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _machine() -> str:
    told = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    if not shutil.which("nvidia-smi"):
        return f"{told}, no GPU"
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    return ", ".join([told, *filter(None, names)])
