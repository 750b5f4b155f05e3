"""Projects to run stages in: what git tracks, in a repository of its own, at toy size."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.plan.dvc_states import plan_stages
from tests.contracts.imports import ROOT

LEFT_OUT = ("results/", "dvc.lock", "tests/")
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t"]
NETWORK = {
    "network": "unet", "encoder": "tu-test_resnet", "decoder_channels": [8, 8, 8], "input_px": 32,
    "epochs": 1, "batch": 8, "lr": 3.0e-3, "weight_decay": 1.0e-2, "schedule": "one_cycle", "loss": "bce_dice",
    "budget": "equal_epochs",
}  # fmt: skip
TOY = {
    "comparison": {
        "datasets": ["phantom"], "references": ["real", "duplicate"],
        "baselines": ["flipped"], "generators": ["controlnet", "siamese"], "generator_seeds": [0],
        "masks": ["random"], "architectures": ["unet"], "seeds": [0],
    },
    "volume": {
        "datasets": ["phantom"], "generators": ["siamese"], "generator_seeds": [0], "masks": ["random"],
        "architectures": ["unet"], "seeds": [0], "multiples": [2],
    },
    "filtered": {
        "datasets": ["phantom"], "generators": ["siamese"], "generator_seeds": [0], "masks": ["random"],
        "filters": ["loose"], "architectures": ["unet"], "seeds": [0],
    },
    "baselines": {
        "real": {"kind": "real"}, "duplicate": {"kind": "duplicate"},
        "flipped": {"kind": "augment", "transforms": [{"name": "flip", "probability": 0.5}]},
    },
    "filters": {"loose": {"max_colour_drift": 1.0e+6}},
    "base": {
        "kind": "pretrain", "seed": 0,
        "vae": {"channels": [16, 32], "latent_channels": 4, "crop_px": 16, "steps": 3, "batch": 2, "lr": 1.0e-3},
        "unet": {
            "channels": [16, 32], "layers": 1, "attention_levels": 1, "context_dim": 16,
            "steps": 3, "batch": 2, "lr": 1.0e-3,
        },
    },
    "architectures": {"unet": NETWORK},
    "judge": NETWORK,
    "sampling": {"steps": 8, "guidance": 2.0, "batch": 2, "seed": 0},
}  # fmt: skip


def shrink(data) -> None:
    """Change the shipped params.yaml to toy size."""
    data.update(json.loads(json.dumps(TOY)))  # a copy: callers edit what they get
    data["datasets"]["phantom"].update(size_px=32, train=12, test=4)
    data["generators"]["controlnet"]["hint_widths"] = [4, 8]
    data["generators"]["siamese"]["hint_widths"] = [4, 8, 16]
    data["training"].update(steps=40, batch=2, checkpoint_steps=2)


def edit(change: Callable) -> None:
    """Change params.yaml of the folder that this process stands in."""
    yaml = YAML()
    data = yaml.load(Path("params.yaml"))
    change(data)
    with Path("params.yaml").open("w") as file:
        yaml.dump(data, file)


def stand_in(path: Path, patch: pytest.MonkeyPatch) -> None:
    """Stand in a project, where stages find its code and this Python."""
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("PYTHONPATH", ".")
    patch.chdir(path)


def stand_in_project(path: Path, change: Callable, patch: pytest.MonkeyPatch) -> None:
    """Copy what git tracks, without results and tests, into a fresh repository, change params.yaml and stand in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if not name.startswith(LEFT_OUT) and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    stand_in(path, patch)
    edit(change)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "toy"]):
        subprocess.run([*GIT, *command], check=True)


def repro(*targets: str) -> set[str]:
    """Let DVC run what is not up to date in the folder that this process stands in, and return the stages that ran."""
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(targets=list(targets) or None)} - {"check"}  # of any edit


def to_run() -> set[str]:
    """Return the stages that DVC would run, taking each of them to leave other bytes than before."""
    return {stage.name for stage in plan_stages(Path("params.yaml")) if stage.state == "to run"}


def several(*arguments: str) -> subprocess.CompletedProcess:
    """Run `python -m pipeline repro` in the folder that this process stands in."""
    command = [sys.executable, "-m", "pipeline", "repro", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
