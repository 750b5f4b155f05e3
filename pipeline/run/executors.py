"""Where `repro` runs a stage: here, or as a Slurm job. DVC itself runs the stage everywhere."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from data.pairs.errors import UserError
from pipeline.processes.tasks import Place, Run, Task, run_dvc
from pipeline.processes.torch_launch import processes_to_start
from pipeline.slurm import engine as slurm

__all__ = ["ENGINES", "Engine", "Place", "Run", "Task", "local_places", "parse_settings", "run_stage"]


class Engine(NamedTuple):
    """`places` lists one place for each stage that may run at a time; `connect` gives what runs a task to its end;
    `running` names the stages that an earlier `repro` has left at work.
    """

    places: Callable[[], list[Place]]
    connect: Callable[[Mapping[str, str]], AbstractContextManager[Run]]
    running: Callable[[], set[str]] = set


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None or not shutil.which("nvidia-smi"):
        return [gpu for gpu in (visible or "").split(",") if gpu not in ("", "-1")]
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    # a card in parts is followed by a line for each part, and a broken driver says so in a line of its own
    return [str(number) for number, _ in enumerate(line for line in lines if line.startswith("GPU "))]


def local_places() -> list[Place]:
    """Return the environment of each stage that may run at one time: one for each GPU, or else one for each core.

    A stage that is to start several processes gets a place of its own, with all GPUs.
    """
    if processes_to_start() > 1:
        return [{}]
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in _gpus()] or [{} for _ in os.sched_getaffinity(0)]


def run_stage(task: Task) -> int:
    """Run one stage on this machine, with a fresh log, and return DVC's exit code."""
    with task.log.open("w") as log:
        return 1 if task.stop.exists() else run_dvc(task.name, task.place, log, task.stop.exists)


@contextlib.contextmanager
def _here(settings: Mapping[str, str]) -> Iterator[Run]:
    """Yield what starts DVC from this process."""
    if settings:
        raise UserError("--set is for --engine slurm: stages that run here need no settings")
    yield run_stage


ENGINES: dict[str, Engine] = {
    "local": Engine(local_places, _here),
    "slurm": Engine(lambda: [{}] * slurm.QUEUED, slurm.connect, slurm.running),
}


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE options as a mapping; `setup` may be given several times, one line each.

    Raises: UserError for others.
    """
    wrong = [pair for pair in pairs if not pair.partition("=")[2]]
    if wrong:
        raise UserError("--set takes KEY=VALUE", wrong)
    settings: dict[str, str] = {}
    for key, value in (pair.split("=", 1) for pair in pairs):
        settings[key] = f"{settings[key]}\n{value}" if key == "setup" and key in settings else value
    return settings
