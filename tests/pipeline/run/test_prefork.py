"""Stages that a process with the libraries runs: the same files, the same words, and none that outlives its caller."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.pairs.files import sha256_tree
from pipeline.run import prefork as warm
from tests.contracts.imports import ROOT
from tests.pipeline.conftest import started_libraries

pytestmark = pytest.mark.heavy


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text().replace("size_px: 64", "size_px: 32", 1)
    Path("params.yaml").write_text(text.replace("train: 48 ", "train: 4 ").replace("test: 64", "test: 4", 1))
    return tmp_path


def stage(*arguments, variable="") -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(ROOT), warm.VARIABLE: variable}
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_stage_leaves_the_same_files_and_is_run_by_the_other_process(project, libraries):
    found = []
    for variable in ("", libraries):
        done = stage("prepare", "--dataset", "phantom", variable=variable)
        assert done.returncode == 0, done.stderr
        found.append(sha256_tree(project / "data/processed"))
    assert found[0] == found[1]


def test_mistakes_of_the_user_are_told_as_ever(project, libraries):
    for arguments in (["prepare", "--dataset", "nonesuch"], ["prepare"]):
        plain, warmed = (stage(*arguments, variable=variable) for variable in ("", libraries))
        assert plain.returncode == warmed.returncode == 2
        assert plain.stderr.splitlines()[-1] == warmed.stderr.splitlines()[-1]


def test_without_a_process_a_stage_runs_by_itself(project):
    assert stage("prepare", "--dataset", "phantom", variable=str(project / "nobody")).returncode == 0


def test_what_a_stage_imports_is_the_code_of_now(project, libraries):
    """The process knows libraries only, so that no stage runs code that was edited after its start."""
    ours = ("data", "siamese", "segmentation", "evaluation")
    assert not [name for name in warm.LIBRARIES if name.split(".")[0] in ours]


def test_a_fork_can_use_what_the_libraries_have_asked_for():
    """diffusers asks for a GPU at import: asked in the wrong way, no fork could use one any more."""
    code = "import os, torch; from pipeline.run import prefork as warm; sound = warm.import_libraries()\n"
    code += "process = os.fork()\n"
    code += "if process == 0: os._exit(torch._C._cuda_isInBadFork())\n"
    code += "assert sound == (os.waitpid(process, 0)[1] == 0); print(sound)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_where_a_fork_is_bad_no_process_answers(tmp_path, monkeypatch):
    """A library that asks CUDA itself: the process ends, and every stage runs by itself."""
    (tmp_path / "asks.py").write_text(
        "import torch\ntry: torch.cuda.init()\nexcept Exception: torch._C._cuda_getDeviceCount()\n"
    )
    code = (
        "import sys; from pipeline.run import prefork as warm\n"
        "warm.LIBRARIES = ('asks',); warm.serve(sys.argv[1], int(sys.argv[2]))"
    )
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-c", code, str(tmp_path / "socket"), str(os.getpid())]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert "stages start by themselves" in done.stderr
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("seconds", [0, 0.05, 0.3, 1])
def test_the_process_never_outlives_its_parent(seconds):
    """Also one that is killed while the libraries are being imported."""
    code = "import os, signal, time; from pipeline.run.prefork import warm_process\n"
    code += f"with warm_process(): time.sleep({seconds}); os.kill(os.getpid(), signal.SIGKILL)"
    mark = f"WARM_TEST={time.time_ns()}"
    env = os.environ | {"PYTHONPATH": str(ROOT)} | dict([mark.split("=")])
    subprocess.run([sys.executable, "-c", code], env=env, check=False)

    def left() -> list[str]:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                marked = mark in (place / "environ").read_text(errors="replace").split("\0")
                if marked and "pipeline.run.prefork" in (place / "cmdline").read_text():
                    found.append(place.name)
            except OSError:
                continue
        return found

    until = time.monotonic() + 3
    while left() and time.monotonic() < until:
        time.sleep(0.05)
    assert left() == []


@pytest.fixture
def own_libraries():
    with started_libraries() as path:
        yield path


def test_a_stage_ends_with_its_caller(project, own_libraries):
    """A worker that stands in a long stage is killed when the one that asked for it is."""
    text = Path("params.yaml").read_text().replace("train: 4 ", "train: 4000 ")
    Path("params.yaml").write_text(text)
    env = os.environ | {"PYTHONPATH": str(ROOT), warm.VARIABLE: own_libraries}
    caller = subprocess.Popen([sys.executable, "-m", "pipeline", "prepare", "--dataset", "phantom"], env=env)

    def workers() -> list[int]:
        return [
            int(name) for name in os.listdir("/proc") if name.isdigit() and here(int(name)) and int(name) != caller.pid
        ]

    def here(number: int) -> bool:
        try:
            return os.readlink(f"/proc/{number}/cwd") == str(project) and number != os.getpid()
        except OSError:
            return False

    until = time.monotonic() + 60
    while not list(project.glob("data/processed/.phantom*")) and time.monotonic() < until:
        time.sleep(0.1)
    assert workers()
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    until = time.monotonic() + 30
    while workers() and time.monotonic() < until:
        time.sleep(0.1)
    assert not workers()
    assert not (project / "data/processed/phantom").exists()
