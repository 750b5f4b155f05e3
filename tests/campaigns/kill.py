"""Whole runs of a tiny graph, killed at random and run again: python tests/campaigns/kill.py --runs 40 --seed 1.

Every run starts from a fresh copy of the project, is killed at least once, and is started again until it ends. Its
results/, outputs/, data/processed/ and the entries of dvc.lock are then compared by byte with those of a run that
nobody disturbed (entries stand in the order in which stages end, which several at a time share out differently).
`--aim lock` kills while dvc.lock is being written, by plain dvc (`python -m pipeline mend` is run then) or by `repro`.
The last line printed is a JSON object of counts.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pytest
from ruamel.yaml import YAML

from data.pairs.files import TEMPORARY, sha256_file
from tests.campaigns.counts import parser, report
from tests.contracts.imports import ROOT
from tests.pipeline.projects import shrink, stand_in_project

SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
LIGHT = ("masks@phantom-random", "reference@phantom-duplicate")  # and `prepare`; two at a time in the end
# with the judge six: enough for a warm process
TRAINED = (*LIGHT, "reference@phantom-real", "inspect_baseline@phantom-flipped--real")
TRAINED_EVERY = 10
PLAIN_EVERY = {"any": 4, "lock": 2}
COMPARED = ("results", "outputs", "data/processed")
LIMIT_S = 600  # of one start, on a machine that has other work
ATTEMPTS = 3
PADDING = 4  # entries of stages that are no more, which DVC keeps, so that writing dvc.lock takes as long as it does


class Process(NamedTuple):
    """A process that stands in the folder of a run."""

    number: int
    role: str


class Reference(NamedTuple):
    """What an undisturbed run leaves, and how long it takes."""

    files: dict[str, str]
    lock: dict[str, Any]
    seconds: float


def say(text: str) -> None:
    """Print a line beside the counts."""
    sys.stderr.write(f"{text}\n")


def role_of(words: list[str]) -> str:
    """Return what a command line is: repro, dvc, warm or stage."""
    if "pipeline.run.prefork" in words:
        return "warm"
    if "pipeline.record.recording" in words or "dvc" in words:
        return "dvc"
    return "repro" if "repro" in words else "stage"


def processes_in(folder: Path) -> list[Process]:
    """Return the processes that run in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "cwd").readlink() == folder and int(place.name) != os.getpid():
                words = (place / "cmdline").read_text().split("\0")
                if (place / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found.append(Process(int(place.name), role_of(words)))
    return found


def send(processes: list[Process], name: str) -> None:
    """Send a signal to each."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.number, getattr(signal, name))


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file that is compared."""
    paths = [path for name in COMPARED for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): sha256_file(path) for path in paths}


def entries(folder: Path) -> dict[str, Any] | None:
    """Return the stages of dvc.lock; None when it is cut."""
    text = (folder / "dvc.lock").read_text() if (folder / "dvc.lock").exists() else ""
    try:
        return YAML(typ="safe").load(text)["stages"]
    except Exception:  # noqa: BLE001 (whatever half a file raises)
        return None


def command(targets: tuple[str, ...], plain: bool, jobs: int) -> list[str]:
    """Return what starts a run."""
    if plain:
        return [sys.executable, "-m", "dvc", "repro", *targets]
    return [sys.executable, "-m", "pipeline", "repro", "--jobs", str(jobs), *targets]


@contextlib.contextmanager
def started(folder: Path, words: list[str]) -> Iterator[subprocess.Popen]:
    """Yield a process that runs in a folder; nothing that stands there outlives the block."""
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        log.write(f"$ {' '.join(words[1:])}\n")
        log.flush()
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            send(processes_in(folder), "SIGKILL")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def run_to_its_end(folder: Path, words: list[str]) -> int | None:
    """Return the exit code; None after too long."""
    with started(folder, words) as process:
        try:
            return process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            return None


def writes_lock(folder: Path) -> Callable[[], bool]:
    """Return what says whether dvc.lock is being written just now."""
    new, lock = folder / ".dvc/tmp/dvc.lock.new", folder / "dvc.lock"
    size = lock.stat().st_size

    def now() -> bool:
        nonlocal size
        before, size = size, lock.stat().st_size
        return new.exists() or size < before

    return now


def kill_once(folder: Path, words: list[str], rng: random.Random, moment: float | None, counts: Counter) -> bool | None:
    """Start a run and kill it after `moment` seconds, or at a random writing of dvc.lock when that is None.

    Return whether it was killed before its end; None when it hung afterwards.
    """
    with started(folder, words) as process:
        start, skipped = time.monotonic(), rng.randrange(3)
        writing, was = writes_lock(folder), False
        while process.poll() is None and time.monotonic() - start < LIMIT_S:
            if moment is not None:
                if time.monotonic() - start >= moment:
                    break
                time.sleep(0.01)
                continue
            now = writing()
            if now and not was:
                skipped -= 1
                if skipped < 0:
                    time.sleep(rng.uniform(0, 0.02))
                    break
            was = now
            time.sleep(0.0005)
        here = processes_in(folder)
        if process.poll() is not None or not here:
            return False
        name = rng.choice(SIGNALS)
        roles = sorted({one.role for one in here} - ({"stage", "warm"} if moment is None else set()))
        victim = rng.choice(["group", "group", *roles])
        one = rng.choice([process for process in here if victim in ("group", process.role)])
        send(here if victim == "group" else [one], name)
        counts[f"{name} to {victim}"] += 1
        counts["kills"] += 1
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            return None
        deadline = time.monotonic() + 5
        while processes_in(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        if orphans := processes_in(folder):
            counts["orphans"] += len(orphans)
            say(f"{folder.name}: {name} to {victim} left {orphans}")
        return True


def one_run(template: Path, folder: Path, reference: Reference, task: dict[str, Any], counts: Counter) -> bool:
    """Make a copy, kill it, run it until it ends and compare. Return whether it was killed at all."""
    rng, targets, plain = task["rng"], task["targets"], task["plain"]
    shutil.copytree(template, folder, symlinks=True)
    words, killed = command(targets, plain, rng.choice((1, 2))), 0
    for _ in range(3):
        moment = None if task["aim"] == "lock" else rng.uniform(0.02, task["until"]) * reference.seconds
        hit = kill_once(folder, words, rng, moment, counts)
        if hit is None:
            counts["stuck"] += 1
            return True
        killed += hit
        if entries(folder) is None and (folder / "dvc.lock").exists():
            counts["cut locks"] += 1
        if plain and hit:
            counts["mends"] += 1
            if run_to_its_end(folder, [sys.executable, "-m", "pipeline", "mend"]) != 0:
                say(f"{folder.name}: mend failed")
        if not hit or rng.random() < 0.5:
            break
    if not killed:
        return False
    for attempt in range(ATTEMPTS):
        code = run_to_its_end(folder, words)
        if code == 0:
            break
        counts["failed reruns"] += 1
        say(f"{folder.name}: rerun {attempt + 1} ended with {code}")
    else:
        counts["stuck"] += 1
        return True
    compare(folder, reference, counts)
    return True


def compare(folder: Path, reference: Reference, counts: Counter) -> None:
    """Count what differs from the undisturbed run, and what is left over."""
    found, lock = contents(folder), entries(folder)
    names = {name for name in {*found, *reference.files} if found.get(name) != reference.files.get(name)}
    left = {name for name in names if any(map(TEMPORARY.fullmatch, Path(name).parts))}
    busy = json.loads((folder / ".dvc/tmp/rwlock").read_text() or "{}")
    counts["leftovers"] += len(left) + bool(busy.get("write"))
    counts["differing"] += len(names - left)
    counts["differing entries"] += lock != reference.lock
    if names or lock != reference.lock:
        say(f"{folder.name}: {sorted(names)[:5]} differ, dvc.lock equal: {lock == reference.lock}")


def pad(folder: Path) -> None:
    """Give dvc.lock entries of stages that are no more."""
    kept = YAML(typ="safe").load((ROOT / "dvc.lock").read_text()) if (ROOT / "dvc.lock").exists() else {"stages": {}}
    stages = {f"earlier@{name}": entry for name, entry in list(kept["stages"].items())[:PADDING]}
    yaml = YAML()
    yaml.default_flow_style = False
    with (folder / "dvc.lock").open("w") as file:
        yaml.dump({"schema": "2.0", "stages": stages}, file)


def reference_of(template: Path, folder: Path, targets: tuple[str, ...]) -> Reference:
    """Run a copy undisturbed by plain dvc and keep what it leaves."""
    shutil.copytree(template, folder, symlinks=True)
    start = time.monotonic()
    code = run_to_its_end(folder, command(targets, True, 1))
    if code != 0:
        raise SystemExit(f"the undisturbed run ended with {code}: {folder.parent / folder.name}.log")
    return Reference(contents(folder), entries(folder) or {}, time.monotonic() - start)


def campaign(root: Path, runs: int, seed: int, aim: str, minutes: float) -> Counter:
    """Return the counts of a campaign in a folder."""
    counts, start = (
        Counter({"runs": 0, "kills": 0, "stuck": 0, "differing": 0, "differing entries": 0}),
        time.monotonic(),
    )
    counts.update({"orphans": 0, "leftovers": 0, "failed reruns": 0, "cut locks": 0, "mends": 0, "not killed": 0})
    template = root / "template"
    template.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        stand_in_project(template, shrink, patch)
        patch.setenv("PYTHONPATH", ".")
        pad(template)
        references: dict[tuple[str, ...], Reference] = {}
        for number in range(runs):
            if time.monotonic() - start > 60 * minutes:
                break
            targets = TRAINED if aim == "any" and number % TRAINED_EVERY == TRAINED_EVERY - 1 else LIGHT
            if targets not in references:
                references[targets] = reference_of(template, root / f"reference-{len(references)}", targets)
            plain = number % PLAIN_EVERY[aim] == PLAIN_EVERY[aim] - 1
            rng, until = random.Random(f"{seed}-{aim}-{number}"), 0.8
            for attempt in range(5):  # one that ended before its kill is done again, and killed earlier
                task = {"rng": rng, "targets": targets, "plain": plain, "aim": aim, "until": until / (1 + attempt)}
                folder = root / f"run-{number}-{attempt}"
                killed = one_run(template, folder, references[targets], task, counts)
                shutil.rmtree(folder, ignore_errors=True)
                if killed:
                    break
            counts["runs"] += 1
            counts["not killed"] += not killed
            say(f"run {number}: {dict(counts)}")
    counts["seconds"] = round(time.monotonic() - start)
    return counts


def main() -> int:
    """Run the campaign that the command line asks for; exit code 1 when a run was stuck, differed or left something."""
    options = parser(__doc__, seed=0)
    options.add_argument("--runs", type=int, default=40)
    options.add_argument("--aim", choices=("any", "lock"), default="any")
    options.add_argument("--minutes", type=float, default=60, help="no run is started after that long")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = campaign(Path(folder).resolve(), given.runs, given.seed, given.aim, given.minutes)
    failures = ("stuck", "differing", "differing entries", "orphans", "leftovers")
    return report({"seed": given.seed, "aim": given.aim} | dict(counts), failures)


if __name__ == "__main__":
    sys.exit(main())
