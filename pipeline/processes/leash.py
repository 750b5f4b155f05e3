"""Processes that end with those that they work for, whatever kills those."""

import contextlib
import os
import select
import signal
import threading
import time
from pathlib import Path

VARIABLE = "SIAMESE_ENDS_WITH"  # the processes of this machine that DVC and its stage end with, as numbers
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")
POLL_S = 0.5


def _leaders() -> list[int]:
    """Return the processes that this one works for: those named by `repro`, or else the DVC that started this stage."""
    named = [int(number) for number in os.environ.get(VARIABLE, "").split(",") if number.isdigit()]
    if named or "DVC_STAGE" not in os.environ:
        return named
    parent = os.getppid()
    with contextlib.suppress(OSError, IndexError, ValueError):  # no /proc here, or DVC has just gone
        name, _, rest = Path(f"/proc/{parent}/stat").read_text().partition("(")[2].rpartition(")")
        if name in SHELLS:
            return [parent, int(rest.split()[1])]
    return [parent]


def follow_leaders() -> None:
    """Kill this process as soon as one that it works for has ended; a rerun goes on from .work."""
    leaders, files = _leaders(), []
    if not leaders:
        return
    for process in leaders:
        try:
            files.append(os.pidfd_open(process))
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGKILL)
        except (AttributeError, OSError):  # not Linux, or an old one: the parent alone is seen
            break
    threading.Thread(target=_end, args=(files, os.getppid()), daemon=True).start()


def _end(files: list[int], parent: int) -> None:
    ended = select.poll()
    for file in files:
        ended.register(file, select.POLLIN)
    while os.getppid() == parent and not (files and ended.poll()):
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGKILL)


def with_leader(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment for a process that is to end with this one and with those that this one ends with."""
    named = [*filter(None, [environment.get(VARIABLE)]), str(os.getpid())]
    return environment | {VARIABLE: ",".join(named)}
