"""What a kill leaves: no process that works on, no lock, no file that is taken for a result."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.campaigns.kill import processes_in
from tests.contracts.imports import ROOT
from tests.pipeline.projects import edit

pytestmark = pytest.mark.graph
TARGET = "prepare@phantom"


def until(ready: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def project(fresh):
    """Stand in a project whose first stage takes half a minute."""
    edit(lambda data: data["datasets"]["phantom"].update(train=6000))
    return fresh


@pytest.fixture
def begun(project):
    """Yield what starts a run and waits until its stage is at work; nothing of it outlives the test."""
    started: list[subprocess.Popen] = []

    def begin(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", *words, TARGET]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        until(at_work, process)
        return process

    def at_work() -> bool:
        stages = [one.number for one in processes_in(project) if one.role == "stage"]
        return any(list(Path("data/processed").glob(f".phantom.*-{number}.partial")) for number in stages)

    yield begin
    for process in started:
        process.kill()
        process.communicate()
    until(lambda: not processes_in(project), seconds=10)


def role(project: Path, name: str) -> int:
    return next(one.number for one in processes_in(project) if one.role == name)


@pytest.mark.parametrize(("words", "victim"), [
    (("pipeline", "repro"), "repro"), (("pipeline", "repro"), "dvc"), (("dvc", "repro"), "dvc"),
])  # fmt: skip
def test_no_stage_goes_on_without_what_started_it(project, begun, words, victim):
    process = begun(*words)
    os.kill(role(project, victim) if victim == "dvc" else process.pid, signal.SIGKILL)
    until(lambda: not [one for one in processes_in(project) if one.role in ("stage", "dvc")], seconds=5)
    process.wait(30)
    assert not Path("data/processed/phantom").exists()


def test_a_second_repro_is_told_of_the_first_and_the_lock_goes_with_it(project, begun):
    first = begun("pipeline", "repro")
    again = [sys.executable, "-m", "pipeline", "repro", TARGET]
    second = subprocess.run(again, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert f"another repro runs (PID {first.pid} on host {os.uname().nodename})" in second.stderr
    first.kill()
    third = begun("pipeline", "repro")
    assert third.poll() is None


def test_what_a_kill_leaves_half_written_is_seen_by_nobody_and_removed(project):
    edit(lambda data: data["datasets"]["phantom"].update(train=8))
    # where nobody buries the processes that were killed above, DVC waits for them
    subprocess.run([sys.executable, "-m", "pipeline", "mend"], check=True, capture_output=True)
    first = subprocess.run([sys.executable, "-m", "dvc", "repro", TARGET], check=False, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    subprocess.run(["git", "add", "-A"], check=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = os.uname().nodename.replace(".", "_")
    left = [Path(f"data/processed/phantom/train/.manifest.csv.{host}-{gone.pid}.tmp")]
    left += [
        Path(f"results/details/.a.json.{host}-{gone.pid}.tmp"),
        Path(f"outputs/.b.{host}-{gone.pid}.partial/c.png"),
    ]
    mine = Path(f"results/details/.a.json.{host}-{os.getppid()}.tmp")  # of a process that runs
    for path in (*left, mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with Repo() as repo:
        assert repo.status([TARGET]) == {}
    seen = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True)
    assert not [path for path in left if path.name in seen.stdout]
    again = [sys.executable, "-m", "pipeline", "repro", TARGET]
    done = subprocess.run(again, capture_output=True, text=True, check=True)
    assert done.stderr.count("left by a process that is gone, removed") == 3
    assert not [path for path in left if path.exists()]
    assert mine.exists()


# every second of the latter by plain dvc; of this seed both are killed by SIGKILL, and once each
@pytest.mark.parametrize(("aim", "runs", "seed"), [("any", 1, 7), ("lock", 2, 53)])
def test_the_campaign_kills_and_finds_the_bytes_of_an_undisturbed_run(aim, runs, seed):
    command = [sys.executable, str(ROOT / "tests/campaigns/kill.py"), "--aim", aim]
    command += ["--runs", str(runs), "--seed", str(seed)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert (counts["runs"], counts["not killed"]) == (runs, 0)
    assert counts["kills"] >= runs
