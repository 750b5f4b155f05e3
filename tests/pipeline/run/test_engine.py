"""`repro` runs two stages at a time: the bytes of one at a time, what failed is named, no half outputs."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from data.pairs.files import sha256_file
from pipeline.run.prefork import VARIABLE
from tests.pipeline.projects import edit, several, shrink, stand_in_project, to_run

pytestmark = pytest.mark.graph

REAL, DUPLICATE = "segment_reference@phantom-real--real-unet-1-0", "segment_reference@phantom-duplicate--real-unet-1-0"


def entries(folder: Path) -> dict:
    return YAML(typ="safe").load(folder / "dvc.lock")["stages"]


def test_two_at_a_time_leave_the_bytes_of_one_at_a_time(finished, tmp_path, monkeypatch):
    stand_in_project(tmp_path, shrink, monkeypatch)
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "core.hardlink_lock", "true"], check=True)
    done = several("--jobs", "2", "judge@phantom", REAL, DUPLICATE)
    assert done.returncode == 0, done.stderr
    ran = entries(tmp_path)
    assert {path.stem for path in Path(".work/logs").glob("*.log")} == ran.keys(), "repro starts every stage"
    assert len(ran) == 7  # and the check
    assert ran == {name: entry for name, entry in entries(finished).items() if name in ran}
    files = [path for name in ("results", "outputs", "data/processed") for path in Path(name).rglob("*")]
    files = [path for path in files if path.is_file()]
    assert [path for path in files if sha256_file(path) != sha256_file(finished / path)] == []
    assert len(list(Path("results/segmentation").rglob("*.json"))) == 2
    assert not to_run() & ran.keys()
    assert "0stage" in several("--jobs", "2", REAL).stderr


def test_a_stage_that_fails_is_named_with_its_log_and_the_others_go_on(project):
    edit(lambda data: data.update(judge={**data["judge"], "encoder": "tu-nonesuch"}))  # a copy: YAML has one for both
    edit(lambda data: data["comparison"].update(seeds=[0, 1]))
    further = REAL.removesuffix("0") + "1"
    done = several("--jobs", "2", "score@phantom-siamese-0-random", further)
    assert done.returncode == 2
    named = re.search(r"1 stages failed, (\d+) that need them did not run\n  judge@phantom:", done.stderr)
    assert named, done.stderr
    assert int(named[1]) >= 2
    assert "encoder 'tu-nonesuch' is unknown" in done.stderr
    assert f"done  {further}" in done.stderr


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


def test_a_launcher_that_is_told_to_end_leaves_no_half_outputs_and_a_rerun_goes_on(project, libraries, monkeypatch):
    edit(lambda data: data["architectures"]["unet"].update(epochs=100))
    work = Path(".work/segment/phantom/unet/real-real-x1-s0")
    out = Path("outputs/segmenters/phantom/unet/real-real-x1-s0")
    before = set(work.glob("*"))
    monkeypatch.delenv(VARIABLE)  # a stage in its own process
    launcher = subprocess.Popen([sys.executable, "-m", "pipeline", "repro", REAL], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not [path for path in set(work.glob("*")) - before if path.is_dir()]:  # the stage has begun to train
        assert launcher.poll() is None, launcher.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    launcher.send_signal(signal.SIGTERM)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 2
    assert "stopped: what was running goes on" in said
    assert not out.exists()
    assert not list(out.parent.glob(".*partial"))
    assert REAL in to_run()
    assert processes_here() == []
    monkeypatch.setenv(VARIABLE, libraries)
    done = several(REAL)
    assert done.returncode == 0, done.stderr
    assert out.is_dir()
    assert REAL not in to_run()


def test_an_unknown_target_or_engine_and_settings_without_a_value_are_told(project):
    unknown, broken = several("--engine", "slurn"), several("--engine", "slurm", "--set", "time")
    assert "did you mean 'slurm'" in unknown.stderr
    assert "--set takes KEY=VALUE" in broken.stderr
    assert [done.returncode for done in (unknown, broken, several("nonesuch"))] == [2, 2, 2]


def test_slurm_needs_a_machine_that_can_submit_jobs(project, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = several("--engine", "slurm", "judge@phantom")
    assert (missing.returncode, "there is no sbatch, squeue, scancel, scontrol here" in missing.stderr) == (2, True)
