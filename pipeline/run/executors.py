"""Where `repro` runs a stage: here, or as a Slurm job. DVC itself runs the stage everywhere."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import NamedTuple

from data.pairs.errors import UserError
from pipeline.processes.tasks import Place, Run, Task, run_dvc
from pipeline.processes.torch_launch import PROCESSES, wanted
from pipeline.slurm import engine as slurm


class Engine(NamedTuple):
    """`places` lists one place for each stage that may run at a time; `connect` takes the settings and gives what
    runs a task to its end; `running` names the stages that an earlier `repro` has left at work.
    """

    places: Callable[[], list[Place]]
    connect: Callable[[Mapping[str, str]], Run]
    running: Callable[[], set[str]]


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
    if wanted(PROCESSES) > 1:
        return [{}]
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in _gpus()] or [{} for _ in os.sched_getaffinity(0)]


def run_here(task: Task) -> int:
    """Run one stage on this machine, with a fresh log, and return DVC's exit code."""
    with task.log.open("w") as log:
        return 1 if task.stop.exists() else run_dvc(task.name, task.place, log, task.stop.exists)


def _local(settings: Mapping[str, str]) -> Run:
    if settings:
        raise UserError("--set is for --engine slurm: stages that run here need no settings")
    return run_here


ENGINES: dict[str, Engine] = {
    "local": Engine(local_places, _local, set),
    "slurm": Engine(lambda: [{}] * slurm.QUEUED, slurm.connect, slurm.running),
}
