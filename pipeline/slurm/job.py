"""A Slurm job of one stage: python -m pipeline.slurm.job STAGE, started by what engine.py submits.

USR1 is the launcher's word to stop, USR2 is Slurm's that the time is nearly over, and TERM that Slurm ends this job: it
was preempted, queued again or cancelled. The stage is stopped gently each time, and DVC never. After TERM the job
reports nothing, whatever DVC said, because Slurm decides whether it runs again.
"""

import os
import signal
import subprocess
import sys
import time

from data.pairs.files import write_text
from pipeline.processes.tasks import run_dvc
from pipeline.processes.torch_launch import NODES
from pipeline.slurm.engine import result_file
from pipeline.slurm.queue import say

GRACE_S = 600  # for Slurm to end a job after TERM
SHORT_S = 60
SHORT_LIVES = 3
LIVES = 200


def _queue_again(seconds: float, life: int) -> int:
    """Ask Slurm to run this job once more, and return the exit code of this life."""
    if life >= (SHORT_LIVES if seconds < SHORT_S else LIVES):
        say(f"the time limit is too short: over after {seconds:.0f} s in life {life} of this job")
        return 1
    say("the time is nearly over: queued again")
    done = subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
    return -1 if done.returncode == 0 else 1


def _slurm_has_ended_this_job() -> bool:
    """Wait until Slurm no longer counts this job as running: after a warning that may take minutes."""
    until = time.monotonic() + GRACE_S
    command = ["squeue", "--noheader", f"--jobs={os.environ['SLURM_JOB_ID']}", "--format=%T"]
    while time.monotonic() < until:
        if subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() not in ("", "RUNNING"):
            return True
        time.sleep(2)
    return False


def main(stage: str) -> int:
    """Run a stage by DVC, leave DVC's exit code in a file unless Slurm is to run this job again, and return it."""
    words: set[int] = set()
    for word in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(word, lambda number, _: words.add(number))
    result_file(stage).unlink(missing_ok=True)  # of an earlier life
    life = int(os.environ.get("SLURM_RESTART_COUNT", "0")) + 1
    if life > 1:
        say(f"job {os.environ['SLURM_JOB_ID']}: life {life}, on {os.uname().nodename}")
    began = time.monotonic()
    place = {NODES: os.environ.get("SLURM_JOB_NUM_NODES", "1")}
    code = run_dvc(stage, place, sys.stdout, lambda: bool(words))
    if signal.SIGTERM in words:
        return 1 if _slurm_has_ended_this_job() else abs(_queue_again(SHORT_S, life))
    if code and signal.SIGUSR2 in words and signal.SIGUSR1 not in words:
        code = _queue_again(time.monotonic() - began, life)
    if code >= 0:
        write_text(result_file(stage), str(code))
    return abs(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
