"""Processes that end with those that they work for, whatever kills those."""

import contextlib
import os
import signal
import threading
import time

VARIABLE = "SIAMESE_ENDS_WITH"  # the processes of this machine that DVC and its stage end with, as numbers
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")
POLL_S = 0.2


def _leaders() -> list[int]:
    """Return the processes that this one works for: those named by `repro`, or else the DVC that started this stage."""
    import psutil

    named = [int(number) for number in os.environ.get(VARIABLE, "").split(",") if number.isdigit()]
    if named or "DVC_STAGE" not in os.environ:
        return named
    parent = os.getppid()
    with contextlib.suppress(psutil.Error):  # DVC has just gone
        shell = psutil.Process(parent)
        if shell.name() in SHELLS:
            return [parent, shell.ppid()]
    return [parent]


def follow_leaders() -> None:
    """Kill this process as soon as one that it works for has ended; a rerun goes on from .work."""
    if leaders := _leaders():
        threading.Thread(target=_end_with, args=(leaders, os.getppid()), daemon=True).start()


def _end_with(leaders: list[int], parent: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        processes = [psutil.Process(number) for number in leaders]
        while os.getppid() == parent and all(
            process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
        ):
            time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def with_leader(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment for a process that is to end with this one and with those that this one ends with."""
    named = [*filter(None, [environment.get(VARIABLE)]), str(os.getpid())]
    return environment | {VARIABLE: ",".join(named)}
