"""Projects to run stages in: what git tracks, in a repository of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.cli import main
from tests.contracts.imports import ROOT

LEFT_OUT = ("results/", "dvc.lock", "tests/")
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t"]


def edit(change: Callable) -> None:
    """Change params.yaml of the folder that this process stands in."""
    yaml = YAML()
    data = yaml.load(Path("params.yaml"))
    change(data)
    with Path("params.yaml").open("w") as file:
        yaml.dump(data, file)


def stand_in_project(path: Path, change: Callable, patch: pytest.MonkeyPatch) -> None:
    """Copy what git tracks, without results and tests, into a fresh repository, change params.yaml and stand in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if not name.startswith(LEFT_OUT) and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("PYTHONPATH", ".")
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.chdir(path)
    edit(change)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "toy"]):
        subprocess.run([*GIT, *command], check=True)


def project_to_train_in(path: Path, change: Callable, patch: pytest.MonkeyPatch) -> None:
    """Stand in a project in which all is made and recorded that a training of `controlnet` on `phantom` needs."""
    stand_in_project(path, change, patch)
    made = {name: ["--dataset", "phantom"] for name in ("prepare@phantom", "base@phantom", "latents@phantom")}
    made["masks@phantom-random"] = ["--dataset", "phantom", "--masks", "random"]
    made["refiner@phantom-controlnet"] = ["--dataset", "phantom", "--generator", "controlnet"]
    for name, options in made.items():
        assert main([name.partition("@")[0], *options]) == 0
    with Repo() as repo:
        for name in made:
            repo.commit(name, force=True)
