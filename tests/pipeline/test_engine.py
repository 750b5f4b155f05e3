"""One small graph, run by dvc one stage at a time and by `repro` two at a time: the same bytes, no half outputs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from data.pairs.files import sha256_tree
from tests.pipeline.projects import edit, stand_in_project
from tests.pipeline.test_graph import shrink

pytestmark = pytest.mark.graph

TARGETS = [
    "judge@phantom",
    "segment_reference@phantom-real-real-unet-1-0",
    "segment_reference@phantom-real-real-unet-1-1",
]


def two_seeds(data) -> None:
    shrink(data)
    data["comparison"]["seeds"] = [0, 1]


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Return two equal repositories of what git tracks, with a small params.yaml, and stand in the second."""
    root = tmp_path_factory.mktemp("engine")
    serial, parallel = root / "serial", root / "parallel"
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    stand_in_project(serial, two_seeds, patch)
    shutil.copytree(serial, parallel)
    patch.chdir(parallel)
    yield serial, parallel
    patch.undo()


def repro(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline", "repro", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def left_to_do() -> dict:
    with Repo() as repo:
        return repo.status(TARGETS)


def lock(folder: Path) -> dict:
    return YAML(typ="safe").load(folder / "dvc.lock")


def test_two_at_a_time_leave_the_bytes_of_a_serial_run(projects):
    serial, parallel = projects
    subprocess.run([sys.executable, "-m", "dvc", "repro", *TARGETS], cwd=serial, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "core.hardlink_lock", "true"], check=True)
    done = repro("--jobs", "2", *TARGETS)
    assert done.returncode == 0, done.stderr
    assert len(list((parallel / ".work/logs").glob("*.log"))) == 6, "every stage was started by repro, and the check"
    for folder in ("results", "outputs", "data/processed"):
        assert sha256_tree(parallel / folder) == sha256_tree(serial / folder)
    assert len(list(Path("results/segmentation").rglob("*.json"))) == 2
    assert lock(parallel) == lock(serial)
    assert left_to_do() == {}


def test_a_stage_that_fails_is_named_with_its_log_and_the_others_go_on(projects):
    before = Path("params.yaml").read_text()
    edit(lambda data: data.update(judge={**data["judge"], "encoder": "tu-nonesuch"}))
    edit(lambda data: data["comparison"].update(seeds=[0, 1, 2]))
    third = "segment_reference@phantom-real-real-unet-1-2"
    done = repro("--jobs", "2", "judge@phantom", third)
    Path("params.yaml").write_text(before)
    assert done.returncode == 2
    assert "1 stages failed, 0 that need them did not run\n  judge@phantom:" in done.stderr
    assert "encoder 'tu-nonesuch' is unknown" in done.stderr
    assert f"done  {third}" in done.stderr


def processes_here() -> list[str]:
    """Return the commands of all processes that stand in this folder, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and (process / "cwd").readlink() == Path.cwd():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_launcher_that_is_told_to_end_leaves_no_half_outputs_and_a_rerun_goes_on(projects):
    edit(lambda data: data["architectures"]["unet"].update(epochs=150))
    target, work = TARGETS[1], Path(".work/segment/phantom/unet/real-real-x1-s0")
    out = Path("outputs/segmenters/phantom/unet/real-real-x1-s0")
    command = [sys.executable, "-m", "pipeline", "repro", target]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not [path for path in work.glob("*") if path.is_dir()]:  # the stage has begun to train
        assert launcher.poll() is None, launcher.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    launcher.send_signal(signal.SIGTERM)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 2
    assert "stopped: what was running goes on" in said
    assert not out.exists()
    assert not list(out.parent.glob(".*partial"))
    assert target in left_to_do()
    assert processes_here() == []
    done = repro(target)  # the engines can be mixed
    assert done.returncode == 0, done.stderr
    assert out.is_dir()
    assert target not in left_to_do()


def test_an_unknown_engine_and_settings_without_a_value_are_told(projects):
    unknown, broken = repro("--engine", "slurn"), repro("--engine", "slurm", "--set", "time")
    assert "did you mean 'slurm'" in unknown.stderr
    assert "--set takes KEY=VALUE" in broken.stderr
    assert (unknown.returncode, broken.returncode) == (2, 2)


def test_slurm_needs_a_machine_that_can_submit_jobs(projects, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = repro("--engine", "slurm", TARGETS[0])
    assert (missing.returncode, "there is no sbatch, squeue, scancel, scontrol here" in missing.stderr) == (2, True)
