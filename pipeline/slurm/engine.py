"""repro --engine slurm: a job for each stage, followed to its end by this process or by one that is started later.

Slurm's own queue is the record of what runs: a job is known by its script, `.work/jobs/<stage>.sh` of this clone, so
that a launcher that starts anew, here or on another machine, finds and follows it and submits nothing twice.
"""

import contextlib
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.files import write_text
from pipeline.processes import leash
from pipeline.processes.tasks import Run, Task
from pipeline.slurm.options import WARNING_S, check, options
from pipeline.slurm.queue import Job, Queue, say

QUEUED = 64  # jobs that wait in Slurm's queue or run at a time
JOBS = Path(".work/jobs")
TOOLS = ("sbatch", "squeue", "scancel", "scontrol")
POLL_S = 0.5
ASK_S = 5
NEVER_S = 20  # so long a job keeps a reason that does not pass
TELL_S = 5  # between two words to a job
FORCE_S = 120  # for a job to stop by itself
LATE_S = 60  # so late a file may appear that was written on another machine
LIVES = 20  # jobs one after another for one stage that Slurm ended and did not queue again
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
AGAIN = ("BOOT_FAIL", "NODE_FAIL", "PREEMPTED")


def result_file(stage: str) -> Path:
    """Return the file in which a job leaves DVC's exit code."""
    return JOBS / f"{stage}.code"


def _note(task: Task, text: str) -> None:
    with task.log.open("a") as log:
        log.write(f"{text}\n")


def _cancel(*words: str) -> None:
    subprocess.run(["scancel", "--quiet", *words], capture_output=True, check=False, start_new_session=True)


def _tell_to_stop(job: Job, *, by_force: bool) -> None:
    """Take a job back that has not begun; one that runs stops its stage itself."""
    _cancel("--state=PENDING", job.id)
    if job.state == "RUNNING" and not by_force:
        _cancel("--signal=USR1", "--batch", job.id)
    elif job.state not in ("PENDING", "COMPLETING"):  # such as suspended, or by force
        _cancel(job.id)


class Launcher:
    """Submits and follows the jobs of one `repro`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._queue = Queue(JOBS.absolute())

    def run(self, task: Task) -> int:
        """Run a stage as a job, or follow the job that it has already, to the end; return DVC's exit code."""
        script = (JOBS / f"{task.name}.sh").absolute()
        job = self._queue.alive(script, task.stop)
        if job:
            say(f"job {job.id}  {task.name}: submitted earlier, now {job}")
        number = job.id if job else self._submit(task, script)
        for _ in range(LIVES):
            if number is None:
                return 1
            last = self._follow(task, number)
            with contextlib.suppress(FileNotFoundError, ValueError):
                return int(result_file(task.name).read_text())
            if last and last.state == "COMPLETED":
                return 0
            _note(task, f"job {number} left no result: {last or 'Slurm knows it no more'}")
            if last is None or last.state not in AGAIN:
                return 1
            number = self._submit(task, script)
        return 1

    def _submit(self, task: Task, script: Path) -> str | None:
        """Return the number of a new job; None when Slurm takes none, with its words in the log."""
        if task.stop.exists():
            return None
        lines = ["#!/bin/bash", self._settings.get("setup", "")]
        lines += [shlex.join(["exec", sys.executable, "-m", "pipeline.slurm.job", task.name]), ""]
        write_text(script, "\n".join(lines))
        task.log.write_text("")
        result_file(task.name).unlink(missing_ok=True)
        log = str(task.log).replace("%", "%%")
        command = ["sbatch", "--parsable", "--requeue", f"--job-name={task.name}", f"--chdir={Path.cwd()}"]
        command += [f"--output={log}", "--open-mode=append", f"--signal=B:USR2@{WARNING_S}"]
        command += [*options(task.name, self._settings), str(script)]
        # what Slurm tells the job that this launcher may run in is not for the jobs that it submits
        env = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_") or key in KEPT}
        env.pop(leash.VARIABLE, None)  # the processes of another machine
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, start_new_session=True)
        self._queue.forget()
        number = done.stdout.strip().partition(";")[0]
        if done.returncode:
            job = self._queue.alive(script, task.stop)
            if job is None:
                _note(task, done.stderr.strip())
                return None
            number = job.id  # it was taken, and the answer was lost
        say(f"job {number}  {task.name}")
        return number

    def _follow(self, task: Task, number: str) -> Job | None:
        """Wait until a job is over and return its last state, or None when Slurm has forgotten it."""
        hopeless_since = stopping_since = math.inf
        told, seen = -math.inf, time.monotonic()
        while True:
            time.sleep(POLL_S)
            has_result, stop = result_file(task.name).exists(), task.stop.exists()
            jobs = self._queue.look(1 if has_result or stop else ASK_S)
            now = time.monotonic()
            job = jobs.get(number) if jobs is not None else Job(number, "UNKNOWN", "", "")
            if job and job.is_over:
                return job
            if job is None:
                if has_result or now - seen > LATE_S:  # its result may be on the way from another machine
                    return None
                continue
            seen = now
            hopeless_since = min(hopeless_since, now) if job.never_starts else math.inf
            if now - told > TELL_S and now - hopeless_since > NEVER_S:
                told = now
                text = f"job {number} can never start and is taken back. Slurm's reason: {job.reason}"
                say(f"{task.name}: {text}")
                _note(task, text)
                _cancel("--state=PENDING", number)
            if now - told > TELL_S and stop:
                stopping_since, told = min(stopping_since, now), now
                _tell_to_stop(job, by_force=now - stopping_since > FORCE_S)


def running() -> set[str]:
    """Return the stages of this clone that have a job. Raises: UserError when Slurm does not answer."""
    jobs = Queue(JOBS.absolute()).look(0)
    if jobs is None:
        raise UserError("squeue does not answer: try again when Slurm is back")
    return {Path(job.script).stem for job in jobs.values() if not job.is_over}


def connect(settings: Mapping[str, str]) -> Run:
    """Return what makes a job of every task. Raises: UserError without Slurm, and for settings that no job can have."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        message = f"--engine slurm: there is no {', '.join(missing)} here; start this on a machine that can submit jobs"
        raise UserError(message)
    check(settings)
    return Launcher(settings).run
