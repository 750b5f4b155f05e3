"""Where `repro` runs a stage: here, in worker processes, or as a Slurm job. DVC itself runs the stage everywhere."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.errors import UserError
from pipeline.leash import with_leader

POLL_S = 0.2
GENTLE_S = 15
QUEUED = 64  # jobs that wait in Slurm's queue or run at a time
JOBS = Path(".work/jobs")
Place = Mapping[str, str]  # what a stage finds in its environment


@dataclass(frozen=True)
class Task:
    """A stage to run, its place, its log, and the file whose appearance tells it to stop, wherever it runs."""

    name: str
    place: Place
    log: Path
    stop: Path

    def __call__(self) -> int:
        """Run the stage and return DVC's exit code."""
        return run_stage(self)

    def checkpoint(self) -> Any:
        """Return what Slurm is to run again: called before the time limit; the stage goes on from .work then."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


Run = Callable[[Task], int]


class Engine(NamedTuple):
    """`places` lists one place for each stage that may run at a time; `connect` gives what runs a task to its end."""

    places: Callable[[], list[Place]]
    connect: Callable[[Mapping[str, str]], AbstractContextManager[Run]]


def local_places() -> list[Place]:
    """Return the environment of each stage that may run at one time: one for each GPU, or else one for each core."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None and shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
        gpus = [str(number) for number, _ in enumerate(listed.stdout.splitlines())]
    else:
        gpus = [gpu for gpu in (visible or "").split(",") if gpu not in ("", "-1")]
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]
    return [{} for _ in os.sched_getaffinity(0)]


def _interrupt(process: subprocess.Popen, since: float) -> None:
    """Stop the stage, not DVC: DVC then tidies up and ends, and is never killed while it writes dvc.lock."""
    import psutil

    word = signal.SIGKILL if time.monotonic() - since > GENTLE_S else signal.SIGINT
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(word)


def run_stage(task: Task) -> int:
    """Let DVC run one stage, and return its exit code; what it prints goes to the task's log.

    On the CPU a stage gets one thread, because narrow networks hardly gain from a second one, and because sums over
    pixels are rounded by their number of threads: the results are then those of any other number of cores.
    """
    # Waiting for the lock: another stage may just be recording what it wrote. USR2 is Slurm's word to the launcher
    # of a job that its time is nearly over, and would end DVC.
    command = ["sh", "-c", 'trap "" USR2; exec "$@"', "sh"]
    command += [sys.executable, "-m", "pipeline.recording", task.name]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages start `python`
    env = with_leader(os.environ | {"PATH": path} | dict(task.place))
    if not env.get("CUDA_VISIBLE_DEVICES"):
        env.setdefault("OMP_NUM_THREADS", "1")
    since = None
    with task.log.open("w") as log:
        if task.stop.exists():
            return 1
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while process.poll() is None:
                if since or task.stop.exists():
                    since = since or time.monotonic()
                    _interrupt(process, since)
                time.sleep(POLL_S)
        finally:  # an exception: a worker is told to end
            since = time.monotonic()
            while process.poll() is None:
                _interrupt(process, since)
                time.sleep(POLL_S)
    return process.returncode


@contextlib.contextmanager
def _here(settings: Mapping[str, str]) -> Iterator[Run]:
    """Yield what starts DVC from this process."""
    if settings:
        raise UserError("--set is for --engine slurm: stages that run here need no settings")
    yield run_stage


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        message = "submitit is not installed, which starts workers and Slurm jobs: pip install submitit"
        raise UserError(message) from error
    return submitit


def _follow(executor: Any) -> Run:
    """Return what submits a task to an executor of submitit and waits for its end."""
    from submitit.core.utils import FailedSubmissionError, UncompletedJobError

    def run(task: Task) -> int:
        try:
            job = executor.submit(task)
            while not job.done():
                if task.stop.exists() and job.state == "PENDING":
                    job.cancel(check=False)
                    return 1
                time.sleep(POLL_S)
            return job.result()
        except (UncompletedJobError, FailedSubmissionError) as error:
            with task.log.open("a") as log:
                log.write(f"\nthere is no result: {error}\n")
            return 1

    return run


@contextlib.contextmanager
def _workers(settings: Mapping[str, str]) -> Iterator[Run]:
    """Yield what starts every task in a worker process on this machine, as Slurm would on another."""
    if settings:
        raise UserError("--set is for --engine slurm: workers take this process's environment")
    submitit = _submitit()
    executor = submitit.LocalExecutor(JOBS)
    executor.update_parameters(timeout_min=60 * 24 * 365)
    yield _follow(executor)


@contextlib.contextmanager
def _slurm(settings: Mapping[str, str]) -> Iterator[Run]:
    """Yield what makes a Slurm job of every task. Settings are sbatch's options with underscores, time in minutes."""
    submitit = _submitit()
    if not shutil.which("srun"):
        raise UserError("--engine slurm: there is no srun here; start this on a machine that can submit jobs")
    executor = submitit.SlurmExecutor(JOBS, max_num_timeout=100)
    numbers = {key: int(value) if value.isdigit() else value for key, value in settings.items()}
    try:
        executor.update_parameters(**{"job_name": "siamese", "time": 24 * 60, **numbers})
    except (ValueError, TypeError) as error:
        raise UserError("--set has a key that Slurm jobs do not take", str(error).splitlines()) from error
    yield _follow(executor)


ENGINES: dict[str, Engine] = {
    "local": Engine(local_places, _here),
    "workers": Engine(local_places, _workers),
    "slurm": Engine(lambda: [{}] * QUEUED, _slurm),
}


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE options as a mapping. Raises: UserError for others."""
    wrong = [pair for pair in pairs if not pair.partition("=")[2]]
    if wrong:
        raise UserError("--set takes KEY=VALUE", wrong)
    return dict(pair.split("=", 1) for pair in pairs)
