"""What params, plan and repro say of a params.yaml that cannot run is one sentence, true, and says what to do."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.projects import edit

ROW = {"kind": "folder", "size_px": 64, "prompt": "p", "splits": {"train": 0.5, "test": 0.5}}


@pytest.fixture
def told(fresh, capsys):
    """Return what a verb prints as an error for a data set at this path; params.yaml is as before afterwards."""
    kept = Path("params.yaml").read_text()

    def ask(verb: str, path: str) -> tuple[int, list[str]]:
        edit(lambda data: data["datasets"].update(mine={**ROW, "path": path}))
        try:
            code = main([verb])
        finally:
            Path("params.yaml").write_text(kept)
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return code, [line.strip() for line in error.splitlines() if "datasets.mine" in line]

    return ask


CANNOT = {
    "": "is empty: write where the pairs are",
    "   ": "is empty: write where the pairs are",
    "~/pairs": "DVC does not know ~, write the whole path, such as /",
    "$HOME/pairs": "variables are not filled in, write the whole path",
    "${HOME}/pairs": "variables are not filled in, write the whole path",
    ".": "holds what the stages write: give the folder of the pairs alone",
    "./.": "holds what the stages write: give the folder of the pairs alone",
    "..": "holds what the stages write: give the folder of the pairs alone",
    "data": "holds what the stages write: give the folder of the pairs alone",
    "results": "holds what the stages write: give the folder of the pairs alone",
}


@pytest.mark.parametrize("path", CANNOT)
def test_a_path_that_dvc_cannot_watch_is_refused_by_all_in_the_same_words(path, told):
    lines = {verb: told(verb, path) for verb in ("params", "plan", "repro")}
    assert {code for code, _ in lines.values()} == {2}
    assert lines["params"] == lines["plan"] == lines["repro"]
    assert len(lines["params"][1]) == 1
    assert lines["params"][1][0].startswith("datasets.mine.path: ")
    assert CANNOT[path] in lines["params"][1][0]


@pytest.mark.heavy
def test_a_path_that_is_not_there_is_named_by_plan_and_repro_alike(told):
    assert told("params", "/nowhere/pairs")[0] == 0
    said = "datasets.mine.path: /nowhere/pairs does not exist: set it to where the data lies"
    assert told("plan", "/nowhere/pairs") == (2, [said])
    assert told("repro", "/nowhere/pairs") == (2, [said])


@pytest.mark.heavy
def test_without_git_repro_and_plan_say_what_to_do(fresh, tmp_path):
    shutil.copytree(fresh, tmp_path / "copy", ignore=shutil.ignore_patterns(".git", ".work", "cache", "tmp"))
    for verb in ("repro", "plan"):
        command = [sys.executable, "-m", "pipeline", verb]
        done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert "`dvc config core.no_scm true` to work without it" in done.stderr
    shutil.rmtree(tmp_path / "copy/.dvc")
    done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, text=True, check=False)
    assert re.search("`dvc init --no-scm`", done.stderr)
