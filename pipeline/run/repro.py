"""repro: `dvc repro`, several stages at a time. DVC itself runs every stage, so that the two can be mixed freely."""

import argparse
import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple

from data.config_errors import dangling
from data.pairs.errors import UserError
from data.pairs.files import sweep
from pipeline.params.read import read_params
from pipeline.plan.dvc_states import stages_to_run
from pipeline.plan.mask_sources import in_order, masks_of, outdated, sources
from pipeline.plan.prerequisites import missing
from pipeline.processes.tasks import Place, Run, local_places, run_here
from pipeline.record.lock_file import mend
from pipeline.run.order import LOGS, end_of_log, run_in_order, stop_file
from pipeline.run.own_params import put_back
from pipeline.run.prefork import VARIABLE, warm_process
from pipeline.slurm import engine as slurm
from pipeline.slurm.options import parse_settings

HOLDER = Path(".work/repro.lock")
WRITTEN = (
    Path("results"),
    Path("outputs"),
    Path("data/processed"),
    Path("data/unlabelled"),
    Path("data/raw"),
    Path("data/checksums"),
)


class Engine(NamedTuple):
    """`places` lists one place for each stage that may run at a time; `connect` takes the settings and gives what
    runs a task to its end; `running` names the stages that an earlier `repro` has left at work.
    """

    places: Callable[[], list[Place]]
    connect: Callable[[Mapping[str, str]], Run]
    running: Callable[[], set[str]]


def _local(settings: Mapping[str, str]) -> Run:
    if settings:
        raise UserError("--set is for --engine slurm: stages that run here need no settings")
    return run_here


ENGINES: dict[str, Engine] = {
    "local": Engine(local_places, _local, set),
    "slurm": Engine(lambda: [{}] * slurm.QUEUED, slurm.connect, slurm.running),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("targets", nargs="*", help="stages, with what they need; all without it")
    add_runner_arguments(parser)


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how stages are run."""
    parser.add_argument("--jobs", type=int, help="how many at a time")
    parser.add_argument("--engine", default="local", help="local, or slurm (docs/scale.md)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of sbatch: time=60")


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of this folder, which goes with this process. Raises: UserError naming the `repro` that has it."""
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


def run(item: dict[str, Any]) -> None:
    """Run all stages that are not up to date, or some with what they need, as `run_stages` does.

    Raises: UserError as `run_stages`, and for the `repro` that runs here already.
    """
    with only_one():
        put_back()
        run_stages(item)


def run_stages(item: dict[str, Any], without: Set[str] = frozenset()) -> None:
    """Run the stages that are not up to date, `jobs` at a time, each as soon as those it needs are done.

    `without` are groups of stages to leave out, which nothing else may need. What a stage prints goes to
    .work/logs/<stage>.log. When one fails, those after it are left and the others go on.

    Raises: UserError for a wrong params.yaml and for data that is not there, before anything runs; else naming every
    stage that failed, with the end of its log; StoppedError when this process is told to end.
    """
    jobs, engine = item["jobs"], item["engine"]
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}: at least 1 is needed")
    if engine not in ENGINES:
        raise UserError(dangling("--engine", engine, ENGINES))
    params = read_params(Path("params.yaml"))
    places, connect, running = ENGINES[engine]
    slots = places()
    slots = [slots[number % len(slots)] for number in range(jobs or len(slots))]
    start = connect(parse_settings(item["set"]))
    swept = (f"{path}: left by a process that is gone, removed" for path in sweep(*WRITTEN))
    sys.stderr.writelines(f"{line}\n" for line in (*mend(), *swept))
    needed = stages_to_run(item["targets"], running())
    if item["targets"] and (more := sources(needed, params) - needed.keys()):
        needed = stages_to_run([*item["targets"], *sorted(more)], running())
    stages = {name: needs for name, needs in needed.items() if name.partition("@")[0] not in without}
    sys.stderr.writelines(f"{line}\n" for line in outdated(stages, params))
    prepared = [name.removeprefix("prepare@") for name in sorted(stages) if name.startswith("prepare@")]
    problems = [line for name in prepared for line in missing("prepare", {"dataset": name}, params)]
    masks = sorted({masks_of(name) for name in stages} - {""})
    if problems := [*problems, *(line for name in masks for line in missing("masks", {"masks": name}, params))]:
        raise UserError("what the run needs is not all there", problems)
    LOGS.mkdir(parents=True, exist_ok=True)
    count = len(stages) if engine == "local" and VARIABLE not in os.environ else 0
    with warm_process(count, slots), stop_file() as stop:
        codes = run_in_order(in_order(stages, params), start, slots, stop)
    if failed := [name for name, code in codes.items() if code]:
        logs = [line for name in failed for line in (f"{name}:", *end_of_log(name))]
        raise UserError(f"{len(failed)} stages failed, {len(stages) - len(codes)} that need them did not run", logs)
