"""repro: `dvc repro`, several stages at a time. DVC itself runs every stage, so that the two can be mixed freely."""

import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.files import sweep
from pipeline.params.errors import dangling
from pipeline.params.schema import read_params
from pipeline.plan.dvc_states import CHECK, without_git
from pipeline.record.dvc_locks import held_locks, locked
from pipeline.record.lock_file import mend
from pipeline.record.recording import file_system
from pipeline.run.executors import ENGINES, Place, Run, Task, parse_settings, run_stage
from pipeline.run.own_params import put_back
from pipeline.run.prefork import VARIABLE, warm_process

LOGS = Path(".work/logs")
HOLDER = Path(".work/repro.lock")
WRITTEN = (Path("results"), Path("outputs"), Path("data/processed"), Path("data/raw"), Path("data/checksums"))
LAST_LINES = 30
WORTH_WARMING = 6  # stages; for fewer, imports in one process more are no gain


class StoppedError(UserError):
    """This process was told to end."""


def _with_those_after(changed: set[str], needs: dict[str, set[str]]) -> set[str]:
    while after := {name for name, others in needs.items() if name not in changed and others & (changed - {CHECK})}:
        changed = changed | after
    return changed


def stages_to_run(targets: list[str], running: Set[str] = frozenset()) -> dict[str, set[str]]:
    """Return the stages that are not up to date or come after one that is not -> those of them that each waits for.

    `running` are stages that are at work already; they and those after them count as not up to date.

    Raises: UserError when a target is no stage of dvc.yaml, or dvc.yaml and params.yaml do not fit.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(fs=file_system()) as repo, locked(repo):
            graph = repo.index.graph  # an edge leads from a stage to one that it needs
            todo = [stage for target in targets for stage in repo.stage.collect(target)] if targets else list(graph)
            wanted: set = set()
            while todo:
                stage = todo.pop()
                if stage not in wanted:
                    wanted.add(stage)
                    todo.extend(graph.successors(stage))
            needs = {stage.addressing: {other.addressing for other in graph.successors(stage)} for stage in wanted}
            changed = _with_those_after({*running} & needs.keys(), needs)
            if asked := [name for name in needs if name not in changed]:  # DVC does not answer for what is at work
                changed |= set(repo.status(asked))
    except DvcException as error:
        raise UserError(f"dvc cannot plan the run: {error}", [*without_git(error), *held_locks()]) from error
    changed = _with_those_after(changed, needs)
    return {name: others & changed for name, others in needs.items() if name in changed}


def _data_that_lacks(stages: Iterable[str], params) -> list[str]:
    """Return a line for every data set to prepare whose folder is not there, as `plan` has it."""
    from pipeline.plan.prerequisites import missing

    names = [name.removeprefix("prepare@") for name in sorted(stages) if name.startswith("prepare@")]
    return [line for name in names for line in missing("prepare", {"dataset": name}, params)]


def _end_of_log(name: str) -> list[str]:
    lines = (LOGS / f"{name}.log").read_text(errors="replace").replace("\r", "\n").splitlines()
    return [f"  {line}" for line in lines[-LAST_LINES:]]


@contextlib.contextmanager
def _stop_file() -> Iterator[Path]:
    """Yield a path that comes to be when this process is told to end; every stage that runs then stops.

    Raises: StoppedError then, once they have.
    """
    stop = (LOGS / f".stop-{socket.gethostname()}-{os.getpid()}").absolute()

    def touch(*_: object) -> None:
        stop.touch()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {one: signal.getsignal(one) for one in signals}
    for one, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup ignores SIGHUP, and means it
            signal.signal(one, touch)
    try:
        yield stop
        if stop.exists():
            raise StoppedError("stopped: what was running goes on from .work when this is run again")
    finally:
        stop.unlink(missing_ok=True)
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)


def _run_in_order(waiting: dict[str, set[str]], start: Run, places: Sequence[Place], stop: Path) -> list[str]:
    """Run every stage as soon as those it needs are done, one in each place; return those that failed.

    What is left in `waiting` needs one that failed, or was not started before the end.
    """
    free: SimpleQueue = SimpleQueue()
    for place in places:
        free.put(place)

    def run_one(name: str) -> tuple[str, int]:
        place = free.get()
        try:
            begin = run_stage if name == CHECK else start  # a second here, and not a place in a queue
            return name, begin(Task(name, place, (LOGS / f"{name}.log").absolute(), stop))
        finally:
            free.put(place)

    failed: list[str] = []
    running: set[Future] = set()
    bar = tqdm(total=len(waiting), desc=f"{len(places)} at a time", unit="stage", mininterval=0)
    with bar, ThreadPoolExecutor(len(places)) as pool:
        while waiting or running:
            for name in [] if stop.exists() else [name for name, needs in waiting.items() if not needs]:
                del waiting[name]
                running.add(pool.submit(run_one, name))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for name, code in (future.result() for future in done):
                bar.update()
                bar.write(f"{'failed' if code else 'done'}  {name}", file=sys.stderr)
                if code:
                    failed.append(name)
                for needs in waiting.values() if not code else ():
                    needs.discard(name)
    return failed


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Keep every other `repro` out of this folder; the lock goes with this process, however it ends.

    Raises: UserError naming the one that runs.
    """
    HOLDER.parent.mkdir(exist_ok=True)
    with HOLDER.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(
                f"another repro runs ({file.read() or 'it has just begun'}): wait for it, or end it"
            ) from error
        file.truncate(0)
        file.write(f"PID {os.getpid()} on host {socket.gethostname()}")
        file.flush()
        yield


def _tidy() -> None:
    """Mend what a kill has cut, and remove what it has left half written in folders that DVC or git tracks."""
    for told in [*mend(), *(f"{path}: left by a process that is gone, removed" for path in sweep(*WRITTEN))]:
        sys.stderr.write(f"{told}\n")


def run(targets: list[str], jobs: int | None, engine: str = "local", settings: Sequence[str] = ()) -> None:
    """Run all stages that are not up to date, or some with what they need, as `run_stages` does.

    Raises: UserError as `run_stages`, and for the `repro` that runs here already.
    """
    with only_one():
        put_back()
        run_stages(targets, jobs, engine, settings)


def run_stages(
    targets: list[str],
    jobs: int | None,
    engine: str = "local",
    settings: Sequence[str] = (),
    without: Set[str] = frozenset(),
) -> None:
    """Run the stages that are not up to date, `jobs` at a time, each as soon as those it needs are done.

    `without` are groups of stages to leave out, which nothing else may need. What a stage prints goes to
    .work/logs/<stage>.log. When one fails, those after it are left and the others go on.

    Raises: UserError for a wrong params.yaml and for data that is not there, before anything runs; else naming every
    stage that failed, with the end of its log; StoppedError when this process is told to end.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}: at least 1 is needed")
    if engine not in ENGINES:
        raise UserError(dangling("--engine", engine, ENGINES))
    params = read_params(Path("params.yaml"))
    places, connect, running = ENGINES[engine]
    slots = places()
    count = jobs or len(slots)
    with connect(parse_settings(settings)) as start:
        _tidy()
        stages = stages_to_run(targets, running())
        waiting = {name: needs for name, needs in stages.items() if name.partition("@")[0] not in without}
        if problems := _data_that_lacks(waiting, params):
            raise UserError("what the run needs is not all there", problems)
        LOGS.mkdir(parents=True, exist_ok=True)
        warm = len(waiting) >= WORTH_WARMING and engine == "local" and VARIABLE not in os.environ
        on_gpus = any("CUDA_VISIBLE_DEVICES" in slot for slot in slots)
        with warm_process(on_gpus=on_gpus) if warm else contextlib.nullcontext(), _stop_file() as stop:
            failed = _run_in_order(waiting, start, [slots[n % len(slots)] for n in range(count)], stop)
    if failed:
        logs = [line for name in failed for line in (f"{name}:", *_end_of_log(name))]
        raise UserError(f"{len(failed)} stages failed, {len(waiting)} that need them did not run", logs)
