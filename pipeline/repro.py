"""repro: `dvc repro`, several stages at a time. DVC itself runs every stage, so that the two can be mixed freely."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from data.pairs.errors import UserError

LOGS = Path(".work/logs")
LAST_LINES = 30


def places() -> list[dict[str, str]]:
    """Return the environment of each stage that may run at one time: one for each GPU, or else one for each core.

    On the CPU a stage gets one thread, because narrow networks hardly gain from a second one, and because sums over
    pixels are rounded by their number of threads: the results are then those of any other number of cores.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None and shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
        gpus = [str(number) for number, _ in enumerate(listed.stdout.splitlines())]
    else:
        gpus = [gpu for gpu in (visible or "").split(",") if gpu not in ("", "-1")]
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]
    return [{"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} for _ in os.sched_getaffinity(0)]


def stages_to_run(targets: list[str]) -> dict[str, set[str]]:
    """Return the stages that are not up to date or come after one that is not -> those of them that each waits for.

    Raises: UserError when a target is no stage of dvc.yaml, or dvc.yaml and params.yaml do not fit.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            graph = repo.index.graph  # an edge leads from a stage to one that it needs
            todo = [stage for target in targets for stage in repo.stage.collect(target)] if targets else list(graph)
            wanted: set = set()
            while todo:
                stage = todo.pop()
                if stage not in wanted:
                    wanted.add(stage)
                    todo.extend(graph.successors(stage))
            changed = set(repo.status([stage.addressing for stage in wanted]) if wanted else ())
    except DvcException as error:
        raise UserError(f"dvc cannot plan the run: {error}") from error
    needs = {stage.addressing: {other.addressing for other in graph.successors(stage)} for stage in wanted}
    while after := {name for name, others in needs.items() if name not in changed and others & changed}:
        changed |= after
    return {name: others & changed for name, others in needs.items() if name in changed}


def _run_stage(name: str, free: SimpleQueue) -> tuple[str, int]:
    place = free.get()
    log = LOGS / f"{name}.log"
    try:
        with log.open("w") as file:  # waiting for the lock: another stage may just be recording what it wrote
            command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name]
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages start `python`
            env = os.environ | {"PATH": path} | place
            done = subprocess.run(command, env=env, stdout=file, stderr=subprocess.STDOUT, check=False)
    finally:
        free.put(place)
    return name, done.returncode


def _end_of_log(name: str) -> list[str]:
    lines = (LOGS / f"{name}.log").read_text(errors="replace").replace("\r", "\n").splitlines()
    return [f"  {line}" for line in lines[-LAST_LINES:]]


def run(targets: list[str], jobs: int | None) -> None:
    """Run all stages that are not up to date, `jobs` at a time, each as soon as those it needs are done.

    What a stage prints goes to .work/logs/<stage>.log. When one fails, those after it are left and the others go on.

    Raises: UserError naming every stage that failed, with the end of its log.
    """
    from pipeline.launch import processes_to_start

    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}: at least 1 is needed")
    waiting = stages_to_run(targets)
    slots = places()
    count = jobs or (1 if processes_to_start() > 1 else len(slots))
    free: SimpleQueue = SimpleQueue()
    for number in range(count):
        free.put(slots[number % len(slots)])
    LOGS.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    running: dict[Future, str] = {}
    bar = tqdm(total=len(waiting), desc=f"{count} at a time", unit="stage", mininterval=0)
    with bar, ThreadPoolExecutor(count) as pool:
        while waiting or running:
            ready = [name for name, needs in waiting.items() if not needs]
            for name in ready:
                del waiting[name]
                running[pool.submit(_run_stage, name, free)] = name
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                name, code = future.result()
                bar.update()
                bar.write(f"{'failed' if code else 'done'}  {name}", file=sys.stderr)
                if code:
                    failed.append(name)
                else:
                    waiting = {other: needs - {name} for other, needs in waiting.items()}
    if failed:
        logs = [line for name in failed for line in (f"{name}:", *_end_of_log(name))]
        raise UserError(f"{len(failed)} stages failed, {len(waiting)} that need them did not run", logs)
