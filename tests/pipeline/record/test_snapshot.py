"""A stage is held to what it was started with: what changes meanwhile is told, and DVC records nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from data.pairs.errors import UserError
from pipeline.record.settings import TEXT, dependencies
from pipeline.record.snapshot import Snapshot
from tests.contracts.imports import ROOT
from tests.pipeline.projects import edit


def test_dependencies_are_those_that_dvc_reads():
    params, graph = (YAML(typ="safe").load(ROOT / name) for name in ("params.yaml", "dvc.yaml"))
    with Repo(str(ROOT)) as repo:
        theirs = {
            stage.addressing: sorted(
                Path(dep.fs_path).relative_to(ROOT) for dep in stage.deps if not hasattr(dep, "params")
            )
            for stage in repo.index.graph
        }
    assert {name: dependencies(name, graph, params) for name in theirs} == theirs
    assert dependencies("nonesuch@a", graph, params) == dependencies("prepare@nonesuch", graph, params) == []


PIPELINE = """
stages:
  one:
    foreach: ${rows}
    do:
      cmd: python -m pipeline one
      deps: [code, "${item.path}"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "one@a")
    Path("params.yaml").write_text("rows: {a: {path: in, size: 3}, b: {path: in, size: 4}}\n")
    Path("dvc.yaml").write_text(PIPELINE)
    for name in ("code/x.py", "in/1.png", "in/2.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    return tmp_path


def test_what_changed_is_named(folder):
    before = Snapshot(["rows.a"])
    assert before.changes() == []
    Path("params.yaml").write_text("rows: {a: {path: in, size: 5}}\n")
    Path("in/1.png").unlink()
    Path("in/3.png").write_text("3")
    Path("code/x.py").write_text("code/y.py")
    with pytest.raises(UserError) as error:
        before.check()
    lines = ["params.yaml: rows.a", "code/x.py: changed", "in/1.png: gone", "in/3.png: new"]
    assert [line.strip() for line in str(error.value).splitlines()[1:5]] == lines
    assert "one@a: what it was started with has changed" in str(error.value)
    assert "dvc commit -f one@a" in str(error.value)


def test_other_sections_touched_files_and_what_dvc_ignores_are_no_change(folder):
    before = Snapshot(["rows.a"])
    Path("params.yaml").write_text("# text\nrows:\n  b: {path: in, size: 9}\n  a: {size: 3, path: in}\n")
    os.utime("in/1.png")
    text = Path("in/2.png").read_text()
    Path("in/2.png").unlink()
    Path("in/2.png").write_text(text)
    Path("code/__pycache__").mkdir()
    Path("code/__pycache__/x.pyc").write_text("")
    Path("in/.1.png.here-12.tmp").write_text("")
    assert before.changes() == []


def test_a_file_that_is_being_saved_is_given_a_moment(folder):
    before, text = Snapshot(["rows.a"]), Path("params.yaml").read_text()
    Path("params.yaml").write_text("")
    later = f"import time; time.sleep(0.4); open('params.yaml', 'w').write({text!r})"
    writer = subprocess.Popen([sys.executable, "-c", later])
    assert before.changes() == []
    writer.wait()
    Path("params.yaml").write_text("rows: {a: [")
    assert "not readable now" in before.changes()[0]


def test_the_text_that_dvc_goes_by_is_what_counts(folder, monkeypatch):
    """An edit between DVC's look at params.yaml and the start of the stage."""
    monkeypatch.setenv(TEXT, Path("params.yaml").read_text())
    Path("params.yaml").write_text("rows: {a: {path: in, size: 5}}\n")
    before = Snapshot(["rows.a"])
    Path("params.yaml").write_text(os.environ[TEXT])
    assert before.changes() == ["params.yaml: rows.a"]  # the stage has seen another one


def test_the_check_is_held_to_the_whole_file(folder, monkeypatch):
    """Or DVC would record a params.yaml that was written while the check ran, and not check it the next time."""
    monkeypatch.setenv("DVC_STAGE", "check")
    before = Snapshot([])
    assert before.changes() == []
    Path("params.yaml").write_text("rows: {a: {path: in, size: 3}, ../b: {path: in, size: 4}}\n")
    assert before.changes() == ["params.yaml: changed"]


PLAIN = ["-m", "dvc", "repro", "prepare@phantom"]
OURS = ["-m", "pipeline", "repro", "prepare@phantom"]


@pytest.mark.graph
@pytest.mark.parametrize("command", [PLAIN, OURS], ids=["dvc", "repro"])
@pytest.mark.parametrize("what", ["own section", "code", "another section"])
def test_a_stage_during_which_something_changes_is_not_recorded(fresh, command, what):
    """The edit comes while the stage draws its pairs; then all is put back, so that only the record could tell."""
    seed = 1 + (command is OURS)  # or what was recorded before comes out of the cache
    edit(lambda data: data["datasets"]["phantom"].update(train=300, size_px=32, seed=seed))
    before, code = Path("params.yaml").read_text(), Path("data/prepare/phantom.py")
    source = code.read_text()
    Path("dvc.lock").unlink(missing_ok=True)
    run = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not list(Path("data/processed").glob(".phantom*partial")):
        assert run.poll() is None, run.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if what == "own section":
        edit(lambda data: data["datasets"]["phantom"].update(size_px=64))
    elif what == "code":
        code.write_text(f"{source}# another\n")
    else:
        edit(lambda data: data["training"].update(steps=41))
    said, _ = run.communicate(timeout=120)
    Path("params.yaml").write_text(before)
    code.write_text(source)
    with Repo() as repo:
        recorded = not repo.status(["prepare@phantom"])
    if what == "another section":
        assert (run.returncode, recorded) == (0, True), said
        return
    assert run.returncode != 0
    assert not recorded
    assert "prepare@phantom: what it was started with has changed" in said
    assert {"own section": "params.yaml: datasets.phantom", "code": "data/prepare/phantom.py: changed"}[what] in said
