"""repro --engine slurm on a real Slurm: jobs that are queued again, taken back, followed anew, and that never start."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from data.pairs.files import sha256_tree
from pipeline.run.prefork import VARIABLE
from tests.contracts.imports import ROOT
from tests.pipeline.projects import GIT
from tests.pipeline.run.cluster import cluster, needs_slurm, slurm
from tests.pipeline.run.test_nodes import assert_close

pytestmark = [pytest.mark.graph, needs_slurm]

STAGE = """
import os, sys, time
from pathlib import Path

name = sys.argv[1]
with open("starts", "a") as starts:
    starts.write(f"{name} {os.environ.get('GREETING')}\\n")
print("begun", flush=True)
while Path(f"hold-{name}").exists():
    time.sleep(0.1)
Path(f"{name}.txt").write_text(name)
"""
STAGES = {
    "stages": {
        "first": {"cmd": "python stage.py first", "deps": ["stage.py"], "outs": ["first.txt"]},
        "second": {"cmd": "python stage.py second", "deps": ["stage.py", "first.txt"], "outs": ["second.txt"]},
        "other": {"cmd": "python stage.py other", "deps": ["stage.py"], "outs": ["other.txt"]},
    }
}
SAID = Path("said")
REPRO = [sys.executable, "-m", "pipeline", "repro", "--engine", "slurm"]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with cluster(tmp_path_factory.mktemp("slurm")) as path:
        yield path
    patch.undo()


def stages_of_seconds(path: Path) -> None:
    """Write a repository of three stages, which end once nothing holds them."""
    path.mkdir()
    (path / "stage.py").write_text(STAGE)
    shutil.copy(ROOT / "params.yaml", path)
    with (path / "dvc.yaml").open("w") as file:
        YAML().dump(STAGES, file)
    subprocess.run([*GIT, "init", "-q", str(path)], check=True)
    with Repo.init(str(path)) as repo, repo.config.edit("local") as config:
        config["core"]["hardlink_lock"] = True


@pytest.fixture
def stages(tmp_path, monkeypatch):
    stages_of_seconds(tmp_path / "stages")
    monkeypatch.chdir(tmp_path / "stages")


@pytest.fixture(scope="module")
def never(tmp_path_factory, folder):
    """Start a stage that no node can take, and return what its launcher said, its exit code and its seconds, later."""
    path = tmp_path_factory.mktemp("never") / "stages"
    stages_of_seconds(path)
    said: dict = {}

    def run() -> None:
        since = time.monotonic()
        said["done"] = subprocess.run(
            [*REPRO, "--set", "cpus_per_task=64", "other"], cwd=path, capture_output=True, text=True, check=False
        )
        said["seconds"] = time.monotonic() - since

    thread = threading.Thread(target=run)
    thread.start()
    yield thread, said
    thread.join()


@contextlib.contextmanager
def launcher(*arguments: str):
    """Yield a launcher in this folder; what it says goes to the file SAID."""
    with SAID.open("w") as said:
        process = subprocess.Popen([*REPRO, *arguments], stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen) -> str:
    """Wait for the end of a launcher and return what it has said."""
    process.wait(300)
    return SAID.read_text()


def until(happened: Callable[[], object], process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, SAID.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def jobs(*options: str) -> list[str]:
    """Return number, name and state of the jobs of the project that this process stands in."""
    lines = slurm("squeue", "-h", "--format=%i %j %T %Z", *options).splitlines()
    return [line.rsplit(" ", 1)[0] for line in lines if line.endswith(f" {Path.cwd()}")]


def test_a_job_that_can_never_start_is_being_told(never):
    """It runs beside the other tests, and is looked at in the last."""
    assert never[0].is_alive()


def test_jobs_have_the_name_of_their_stage_the_options_and_the_setup_lines_given(stages):
    Path(".work/logs").mkdir(parents=True)
    Path(".work/logs/first.log").write_text("of an earlier run\n")
    Path("hold-second").touch()
    options = ["--set", "setup=export GREETING=hello", "--set", "setup=echo set up", "--set", "comment=a b"]
    with launcher(*options, "second") as process:
        until(lambda: Path("starts").exists() and "second" in Path("starts").read_text(), process)
        number, name, state = jobs()[0].split()
        assert (name, state) == ("second", "RUNNING")
        assert "Comment=a b" in slurm("scontrol", "show", "job", number)
        Path("hold-second").unlink()
        said = ended(process)
    assert process.returncode == 0, said
    assert f"job {number}  second" in said
    assert Path("starts").read_text() == "first hello\nsecond hello\n"
    log = Path(".work/logs/first.log").read_text()
    assert log.startswith("set up\n")
    assert "begun" in log


def test_a_launcher_that_is_killed_and_started_again_runs_no_stage_twice(stages):
    Path("hold-first").touch()
    with launcher("second") as process:
        until(lambda: Path("starts").exists(), process)
    (before,) = jobs()
    with launcher("second") as process:
        until(lambda: "submitted earlier" in SAID.read_text(), process)
        Path("hold-first").unlink()
        said = ended(process)
    assert process.returncode == 0, said
    assert f"job {before.split()[0]}  first: submitted earlier, now RUNNING" in said
    assert Path("starts").read_text() == "first None\nsecond None\n"


def test_a_waiting_job_that_somebody_cancels_is_noticed_at_once(stages):
    with launcher("--set", "hold=true", "first") as process:
        until(lambda: jobs("--states=PENDING"), process)
        slurm("scancel", jobs()[0].split()[0])
        since = time.monotonic()
        said = ended(process)
    assert time.monotonic() - since < 15
    assert process.returncode == 2
    assert "left no result: CANCELLED" in said


def test_a_launcher_that_is_told_to_end_takes_waiting_jobs_back_and_stops_running_ones(stages):
    """There is no accounting here, and nothing asks for it."""
    for name in ("first", "other"):  # only one of them finds room, whichever comes first
        Path(f"hold-{name}").touch()
    with launcher("--set", "exclusive=true", "--set", "nodelist=left", "second", "other") as process:
        until(lambda: len(jobs()) == 2 and jobs("--states=RUNNING"), process)
        until(lambda: Path("starts").exists(), process)
        process.send_signal(signal.SIGTERM)
        since = time.monotonic()
        said = ended(process)
    assert time.monotonic() - since < 30
    assert process.returncode == 2
    assert "stopped: what was running goes on" in said
    assert jobs() == []
    assert len(Path("starts").read_text().splitlines()) == 1
    assert not [name for name in ("lock", "rwlock.lock") if Path(".dvc/tmp", name).exists()]


def test_a_job_whose_time_is_nearly_over_and_one_that_is_preempted_are_queued_again(stages):
    Path("hold-first").touch()

    def lives() -> int:
        return Path("starts").read_text().count("first") if Path("starts").exists() else 0

    with launcher("--set", "time=4", "--set", "nodes=1", "--set", "exclusive=true", "first") as process:
        until(lambda: lives() == 1, process)
        slurm("scancel", "--signal=USR2", "--batch", jobs()[0].split()[0])
        until(lambda: lives() == 2, process)
        for node in ("left", "right"):
            slurm("sbatch", "--partition=urgent", "--exclusive", f"--nodelist={node}", "--wrap=sleep 1")
        until(lambda: lives() == 3, process)
        Path("hold-first").unlink()
        said = ended(process)
    assert process.returncode == 0, said
    assert said.count("job ") == 1, said
    log = Path(".work/logs/first.log").read_text()
    assert "the time is nearly over: queued again" in log
    assert "PREEMPTION" in log
    assert "life 3" in log


TRAIN, OUT = "train@phantom-controlnet-0", Path("outputs/generators/phantom/controlnet-g0")


@pytest.fixture
def untrained(project, monkeypatch):
    """Stand in a project in which all is made and recorded that the training needs, and nothing of the training."""
    monkeypatch.delenv(VARIABLE)  # a job starts its own process
    with Repo() as repo, repo.config.edit("local") as config:
        config["core"]["hardlink_lock"] = True
    shutil.rmtree(OUT)
    yaml = YAML()
    lock = yaml.load(Path("dvc.lock"))
    del lock["stages"][TRAIN]
    with Path("dvc.lock").open("w") as file:
        yaml.dump(lock, file)
    shutil.rmtree(".dvc/cache/runs")
    shutil.rmtree(".work/train")


def test_a_training_that_slurm_queues_again_goes_on_and_leaves_the_same_bytes(untrained, finished):
    with launcher(TRAIN) as process:
        until(lambda: list(Path(".work/train").rglob("step-*")), process)
        slurm("scontrol", "requeue", jobs()[0].split()[0])
        said = ended(process)
    assert process.returncode == 0, said
    assert said.count("job ") == 1, said
    first, second = Path(f".work/logs/{TRAIN}.log").read_text().split("life 2")
    assert " 0/40" in first
    assert " 0/40" not in second
    assert sha256_tree(OUT) == sha256_tree(finished / OUT)


def test_one_training_runs_on_two_nodes(untrained, finished):
    with launcher("--set", "nodes=2", TRAIN) as process:
        said = ended(process)
    assert process.returncode == 0, said
    assert "on 2 x cpu" in Path(f".work/logs/{TRAIN}.log").read_text()
    assert_close(OUT, finished / OUT)


def test_a_job_that_can_never_start_was_told_within_a_minute_with_slurms_reason(never):
    thread, said = never
    thread.join(60)
    assert said["seconds"] < 60
    assert said["done"].returncode == 2
    assert "can never start and is taken back. Slurm's reason: PartitionConfig" in said["done"].stderr
