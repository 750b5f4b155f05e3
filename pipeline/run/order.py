"""Stages run in the order in which they need each other, so many at a time, until all are done or somebody stops it."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from data.pairs.errors import UserError
from pipeline.plan.dvc_states import CHECK
from pipeline.processes.tasks import Place, Run, Task, run_here

LOGS = Path(".work/logs")
LAST_LINES = 30


class StoppedError(UserError):
    """This process was told to end."""


def end_of_log(name: str) -> list[str]:
    lines = (LOGS / f"{name}.log").read_text(errors="replace").replace("\r", "\n").splitlines()
    return [f"  {line}" for line in lines[-LAST_LINES:]]


@contextlib.contextmanager
def stop_file() -> Iterator[Path]:
    """Yield a path that comes to be when this process is told to end. Raises: StoppedError then, once stages have."""
    stop = (LOGS / f".stop-{socket.gethostname()}-{os.getpid()}").absolute()

    def touch(*_: object) -> None:
        stop.touch()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup ignores SIGHUP, and means it
            signal.signal(number, touch)
    try:
        yield stop
        if stop.exists():
            raise StoppedError("stopped: what was running goes on from .work when this is run again")
    finally:
        stop.unlink(missing_ok=True)
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def run_in_order(stages: dict[str, set[str]], start: Run, places: Sequence[Place], stop: Path) -> dict[str, int]:
    """Run every stage when those it needs are done, one in each place; return the exit code of each that was run."""
    free: SimpleQueue = SimpleQueue()
    for place in places:
        free.put(place)

    def run_in_a_place(name: str) -> tuple[str, int]:
        place = free.get()
        try:
            begin = run_here if name == CHECK else start  # a second here, and not a place in a queue
            return name, begin(Task(name, place, (LOGS / f"{name}.log").absolute(), stop))
        finally:
            free.put(place)

    order = TopologicalSorter(stages)
    order.prepare()
    codes: dict[str, int] = {}
    running: set[Future] = set()
    bar = tqdm(total=len(stages), desc=f"{len(places)} at a time", unit="stage", mininterval=0)
    with bar, ThreadPoolExecutor(len(places)) as pool:
        while order.is_active():
            running |= {pool.submit(run_in_a_place, name) for name in (() if stop.exists() else order.get_ready())}
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for name, code in (future.result() for future in done):
                bar.update()
                bar.write(f"{'failed' if code else 'done'}  {name}", file=sys.stderr)
                codes[name] = code
                if not code:
                    order.done(name)
    return codes
