"""One part of the benchmark in a process of its own, so that its end is only its own."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 25
GONE_S = 2.0


def end_tree(process: subprocess.Popen) -> None:
    """Kill a process and all that it started, sessions of their own included, and wait until they are gone."""
    import psutil

    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    for child in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    psutil.wait_procs(family, timeout=GONE_S)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of JSON lines; the last may have been cut off."""
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _reason(code: int, log: Path) -> str:
    name = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join([name, *lines[-LAST_LINES:]])


def run_part(command: Sequence[str], rows: Path, limit_s: float) -> dict[str, Any]:
    """Run a command that writes JSON lines to `rows`; return status, reason, seconds and all rows that it wrote.

    status: done, failed (reason: the end of what it printed), or stopped (at the limit).
    """
    log, start = rows.with_suffix(".log"), time.monotonic()
    code = None
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(limit_s)
        finally:
            end_tree(process)
    outcome: dict[str, Any] = {"limit_s": round(limit_s, 1), "seconds": round(time.monotonic() - start, 1)}
    if code is None:
        outcome |= {"status": "stopped", "reason": f"not done after {limit_s:.0f} s; what it had measured is kept"}
    elif code:
        outcome |= {"status": "failed", "reason": _reason(code, log)}
    else:
        outcome |= {"status": "done", "reason": None}
    return outcome | {"rows": read_rows(rows)}
