"""A toy project in which every stage has run, built once for all workers, and copies of it to change."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.run.prefork import VARIABLE, warm_process
from tests.contracts.imports import ROOT
from tests.pipeline.projects import repro, shrink, stand_in, stand_in_project


@contextlib.contextmanager
def started_libraries() -> Iterator[str]:
    """Yield the socket of a process that has the libraries imported, for stages that would take seconds to do it."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)  # whose code the stages run
            stack.enter_context(warm_process())
        path, until = os.environ[VARIABLE], time.monotonic() + 120
        while not Path(path).exists() and time.monotonic() < until:
            time.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(VARIABLE)
            yield path


@pytest.fixture(scope="session")
def libraries() -> Iterator[str]:
    """Yield the socket of one such process for all tests; where memory has ended it, stages run by themselves."""
    with started_libraries() as path:
        yield path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, libraries) -> Path:
    """Return a toy project to read or to copy; ran.json beside it lists the stages that its first run ran."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    path, ran = root / "finished/project", root / "finished/ran.json"
    path.parent.mkdir(exist_ok=True)
    with (root / "finished/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker takes what the first has built
        if not ran.exists():
            shutil.rmtree(path, ignore_errors=True)
            with pytest.MonkeyPatch.context() as patch:
                stand_in_project(path, shrink, patch)
                patch.setenv(VARIABLE, libraries)
                ran.write_text(json.dumps(sorted(repro())))
    return path


@pytest.fixture
def project(finished, libraries, tmp_path, monkeypatch) -> Path:
    """Stand in a copy of the finished project; stages of plain dvc and `repro` find the libraries imported."""
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    stand_in(tmp_path / "project", monkeypatch)
    monkeypatch.setenv(VARIABLE, libraries)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Iterator[Path]:
    """Stand in a toy project in which nothing has run; the tests of a module share it."""
    path = tmp_path_factory.mktemp("fresh").resolve() / "project"
    with pytest.MonkeyPatch.context() as patch:
        stand_in_project(path, shrink, patch)
        yield path
