"""A stage that `repro` runs, its place, and how DVC runs it: the same on this machine and in a Slurm job."""

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.processes.leash import with_leader
from pipeline.processes.torch_launch import PROCESSES, wanted

POLL_S = 0.2
REPEAT_S = 2  # a process that starts may miss the first word
GENTLE_S = 15
Place = Mapping[str, str]  # what a stage finds in its environment


@dataclass(frozen=True)
class Task:
    """A stage to run, its place, its log, and the file whose appearance tells it to stop."""

    name: str
    place: Place
    log: Path
    stop: Path


Run = Callable[[Task], int]


def gpus() -> list[str]:
    """Return the name of every GPU of this machine."""
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    # a card in parts is followed by a line for each part, and a broken driver says so in a line of its own
    return [] if listed.returncode else re.findall(r"^GPU \d+: (.+?) \(UUID", listed.stdout, re.MULTILINE)


def local_places() -> list[Place]:
    """Return the environment of each stage that may run at one time: one for each GPU, or else one for each core.

    A stage that is to start several processes gets a place of its own, with all GPUs.
    """
    if wanted(PROCESSES) > 1:
        return [{}]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [str(number) for number, _ in enumerate(gpus())] if visible is None else visible.split(",")
    places: list[Place] = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in numbers if gpu not in ("", "-1")]
    return places or [{} for _ in os.sched_getaffinity(0)]


def _stop(process: subprocess.Popen) -> None:
    """Stop the stage of a DVC, by force after some seconds, and wait for DVC, which may be writing dvc.lock."""
    import psutil

    since, told_s = time.monotonic(), -math.inf
    while process.poll() is None:
        passed_s = time.monotonic() - since
        word = signal.SIGINT if passed_s <= GENTLE_S else signal.SIGKILL
        if word == signal.SIGKILL or passed_s - told_s >= REPEAT_S:
            told_s = passed_s
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.send_signal(word)
        time.sleep(POLL_S)


def run_dvc(name: str, place: Place, log: IO[str], stopped: Callable[[], bool]) -> int:
    """Let DVC run one stage, what it prints into `log`, and return DVC's exit code.

    Once `stopped` says so the stage is stopped. On the CPU a stage gets one thread, because narrow networks hardly gain
    from a second one, and because sums over pixels are rounded by their number of threads: the results are then those
    of any other number of cores.
    """
    # Waiting for the lock: another stage may just be recording what it wrote. Slurm sends TERM, USR1 and USR2 to jobs;
    # who started DVC answers them, and DVC itself must not end while it writes.
    command = ["sh", "-c", 'trap "" TERM USR1 USR2; exec "$@"', "sh"]
    command += [sys.executable, "-m", "pipeline.record.recording", name]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages start `python`
    env = with_leader(os.environ | {"PATH": path} | dict(place))
    if not env.get("CUDA_VISIBLE_DEVICES"):
        env.setdefault("OMP_NUM_THREADS", "1")
    process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while process.poll() is None and not stopped():
            time.sleep(POLL_S)
    finally:  # an exception, too: the launcher is told to end
        _stop(process)
    return process.returncode


def run_here(task: Task) -> int:
    """Run one stage on this machine, with a fresh log, and return DVC's exit code."""
    with task.log.open("w") as log:
        return 1 if task.stop.exists() else run_dvc(task.name, task.place, log, task.stop.exists)
