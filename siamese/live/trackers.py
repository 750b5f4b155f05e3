"""The curves of a training in TensorBoard, DVCLive, Weights & Biases and others, by accelerate's own trackers."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from data.pairs.errors import UserError

VARIABLE = "SIAMESE_TRACKERS"
PROJECT = "siamese-diffusion"
PACKAGES = {"comet_ml": "comet-ml"}  # of a tracker that is called otherwise
LOCAL = ("tensorboard", "dvclive")  # files in the live folder; params.yaml says there what was trained

# What a tracker is started with, from the live folder and whether the training goes on from a checkpoint.
OPTIONS: dict[str, Callable[[Path, bool], dict[str, Any]]] = {
    "tensorboard": lambda folder, _: {"run_name": "tensorboard"},
    # a dvc.yaml beside it, or it would write into the project's; in its own folder it would repeat its lines
    "dvclive": lambda folder, resumed: {
        "dir": str(folder / "dvclive"),
        "dvcyaml": str(folder / "dvc.yaml"),
        "save_dvc_exp": False,  # DVC does
        "resume": resumed,
    },
    "mlflow": lambda folder, _: {"experiment_name": PROJECT, "run_name": run_name(folder)},
    "wandb": lambda folder, _: {"run_name": PROJECT, "name": run_name(folder)},
}
# How a tracker shows images uint8 (N, H, W, 3), one a mask, or the sheet of all that were drawn so far.
SHOWS: dict[str, Callable[[Any, np.ndarray, np.ndarray, int], None]] = {
    "tensorboard": lambda tracker, images, _, step: tracker.log_images({"samples": images}, step, dataformats="NHWC"),
    "wandb": lambda tracker, images, _, step: tracker.log_images({"samples": list(images)}, step),
    "dvclive": lambda tracker, _, sheet, step: tracker.live.log_image("samples.png", sheet),
}


def run_name(folder: Path) -> str:
    """Return the data set and the generator of a live folder, such as phantom/siamese-g0."""
    return "/".join(folder.parts[-2:])


def asked_trackers() -> list[str]:
    """Return the trackers that SIAMESE_TRACKERS names, such as tensorboard,dvclive; none without it.

    Raises: UserError for each that accelerate does not know, and for each that is not installed, with what to install.
    """
    names = list(dict.fromkeys(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(",")))))
    installed = set(map(str, get_available_trackers()))
    problems = [
        f"{name}: is not installed: pip install {PACKAGES.get(name, name)}"
        if name in LOGGER_TYPE_TO_CLASS
        else f"{name}: is not known; known are {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}"
        for name in names
        if name not in installed
    ]
    if problems:
        raise UserError(f"{VARIABLE} in the environment names trackers that are not here", problems)
    return names


def start_trackers(accelerator: Any, folder: Path, resumed: bool, settings: Mapping[str, Any]) -> None:
    """Start the trackers that are asked for, in `folder` where they write files; whoever started them ends them.

    `settings` is what was trained, name -> value, for the trackers that live elsewhere.
    """
    for name in asked_trackers():
        if not resumed and name in LOCAL:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / "dvc.yaml").unlink(missing_ok=True)
        kind = LOGGER_TYPE_TO_CLASS[name]
        options = OPTIONS[name](folder, resumed) if name in OPTIONS else {"run_name": PROJECT}
        if kind.requires_logging_directory:
            options["logging_dir"] = str(folder)
        tracker = kind(**options)
        tracker.start()
        accelerator.trackers.append(tracker)
        if name not in LOCAL:
            tracker.store_init_configuration(dict(settings))


def show_images(accelerator: Any, images: np.ndarray, sheet: np.ndarray, step: int) -> None:
    """Give the images of a step, uint8 (N, H, W, 3), or the sheet (H, W, 3) with all of them to who can show them."""
    for tracker in accelerator.trackers:
        if tracker.name in SHOWS:
            SHOWS[tracker.name](tracker, images, sheet, step)
