"""What Slurm says of the jobs of this clone. squeue is asked once for all of them, whoever wants to know."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from pipeline.record.dvc_locks import held_locks

REPORT_S = 30
STALE_LOCK_S = 120
OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
# no job starts for these but by a change of the job or of the cluster's rules; others pass
NEVER = (
    *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints", "DependencyNeverSatisfied"),
    *("InvalidAccount", "InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "PerJob", "NotSatisfied"),
)


class Job(NamedTuple):
    """A job as squeue shows it; `script` is what sbatch was handed, which names the clone and the stage."""

    id: str
    state: str
    reason: str
    script: str

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
        return f"{self.state}{reason}"

    @property
    def is_over(self) -> bool:
        """Return whether it ended for good: what Slurm queues again or still tidies up did not."""
        return self.state in OVER

    @property
    def never_starts(self) -> bool:
        """Return whether it waits for what does not come about."""
        return self.state == "PENDING" and any(word in self.reason for word in NEVER)


def say(text: str) -> None:
    """Print a line above the progress bar."""
    tqdm.write(text, file=sys.stderr)


class Queue:
    """This clone's jobs, those too that ended some minutes ago; every half minute they are told if they changed."""

    def __init__(self, scripts: Path) -> None:
        self._scripts, self._lock = str(scripts), threading.Lock()
        self._jobs: dict[str, Job] | None = None
        self._asked = self._reported = float("-inf")
        self._last: list[str] = []

    def forget(self) -> None:
        """Let the next look ask anew: a job was submitted since."""
        with self._lock:
            self._asked = float("-inf")

    def look(self, age: float) -> dict[str, Job] | None:
        """Return id -> job, not older than so many seconds; None while Slurm does not answer."""
        with self._lock:
            if time.monotonic() - self._asked > age:
                self._jobs = self._ask()
                self._asked = time.monotonic()
                self._report()
            return self._jobs

    def alive(self, script: Path, stop: Path) -> Job | None:
        """Return the job of a script that waits, runs or ends just now, if any; waits until Slurm answers or `stop`."""
        while (jobs := self.look(1)) is None and not stop.exists():
            time.sleep(1)
        return next((job for job in (jobs or {}).values() if job.script == str(script) and not job.is_over), None)

    def _ask(self) -> dict[str, Job] | None:
        command = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i\t%T\t%r\t%o"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            problem = done.stderr.strip() if done.returncode else None
        except subprocess.TimeoutExpired:
            problem = "two minutes without a word"
        if problem is not None:
            self._tell([f"squeue does not answer: {problem}"])
            return None
        jobs = [Job(*line.split("\t", 3)) for line in done.stdout.splitlines() if line.count("\t") >= 3]
        return {job.id: job for job in jobs if job.script.startswith(self._scripts)}

    def _report(self) -> None:
        if self._jobs is None or time.monotonic() - self._reported < REPORT_S:
            return
        self._reported = time.monotonic()
        states = Counter(str(job) for job in self._jobs.values() if not job.is_over)
        groups = "; ".join(f"{count} {state}" for state, count in sorted(states.items()))
        self._tell([*([f"Slurm: {groups}"] if groups else []), *held_locks(STALE_LOCK_S)])

    def _tell(self, lines: list[str]) -> None:
        if lines and lines != self._last:
            say("\n".join(lines))
        self._last = lines
