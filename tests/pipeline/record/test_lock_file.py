"""dvc.lock changes whole under `repro`, and is put back where plain dvc was killed while it wrote it."""

import fcntl
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from data.pairs.errors import UserError
from pipeline.record import lock_file
from pipeline.record.lock_file import BUSY, COPY, DVC_LOCK, LOCK, keep_copy, mend
from pipeline.record.recording import file_system, of_stage, with_stage
from tests.contracts.imports import ROOT
from tests.pipeline.projects import GIT


@pytest.fixture
def good(tmp_path, monkeypatch):
    """Stand in a folder with a whole dvc.lock of four stages and return its text."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "dvc.lock").read_text()
    starts = [found.start() for found in re.finditer(r"\n  [^ -]", text)]
    Path(".dvc/tmp").mkdir(parents=True)
    LOCK.write_text(text[: starts[4] + 1])
    return LOCK.read_text()


@pytest.mark.heavy
def test_a_lock_that_was_cut_anywhere_is_put_back(good):
    keep_copy()
    rng = random.Random(0)
    ends = [place + 1 for place, letter in enumerate(good) if letter == "\n"][:-1]
    for place in (0, 1, *rng.sample(range(len(good)), 40), *rng.sample(ends, 40), *ends[-20:]):
        LOCK.write_text(good[:place])
        assert mend(), good[:place][-80:]
        assert LOCK.read_text() == good
    assert mend() == []


@pytest.mark.heavy
def test_a_lock_that_grew_before_it_was_cut_is_put_back(good):
    """A stage that was recorded for the first time: the copy is older than what was being written."""
    lines = good.splitlines(keepends=True)
    start = max(number for number, line in enumerate(lines) if line.startswith("  ") and line[2] not in " -")
    older = "".join(lines[:start])
    LOCK.write_text(older)
    keep_copy()
    for number in range(start + 1, len(lines)):
        LOCK.write_text("".join(lines[:number]))
        done = mend()
        if done or "    outs:\n" not in lines[start:number]:  # one whole output of several is no cut that can be seen
            assert LOCK.read_text() == older, number


def test_a_whole_lock_is_left_alone_and_becomes_the_copy(good):
    assert mend() == []
    assert COPY.read_text() == good
    more = good + good[good.index("  prepare@") :].replace("@phantom", "@other")
    LOCK.write_text(more)
    assert mend() == []
    assert COPY.read_text() == LOCK.read_text() == more


def test_an_older_commit_that_was_checked_out_is_left_alone(good):
    older = good[: [entry.start() for entry in re.finditer(r"^  [\w@-]+:$", good, re.MULTILINE)][-1]]  # a stage less
    LOCK.write_text(older)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "older"]):
        subprocess.run([*GIT, *words], check=True)
    LOCK.write_text(good)
    keep_copy()
    LOCK.write_text(older)
    assert mend() == []
    assert LOCK.read_text() == older


def test_without_a_copy_the_commit_serves_and_without_that_every_stage_runs_again(good):
    LOCK.write_text(good[:-7])
    assert "every stage runs again" in mend()[0]
    assert not LOCK.exists()
    assert lock_file.ASIDE.read_text() == good[:-7]
    LOCK.write_text(good)
    for words in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "lock"]):
        subprocess.run([*GIT, *words], check=True)
    LOCK.write_text("")
    assert "that of the last commit is back" in mend()[0]
    assert LOCK.read_text() == good


def test_a_lock_that_is_just_being_written_is_left_alone(good, monkeypatch):
    monkeypatch.setattr(lock_file, "WAIT_S", 0.3)
    keep_copy()
    LOCK.write_text(good[:100])
    with DVC_LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is being written"):
            mend()
    assert LOCK.read_text() == good[:100]
    assert mend()
    Path(".dvc/config").write_text("[core]\n    hardlink_lock = true\n")
    LOCK.write_text("")
    with pytest.raises(UserError, match="remove that file"):  # there the file is the lock, and outlives its holder
        mend()


def test_a_broken_list_of_busy_paths_is_removed(good):
    for text in ("", '{"write": {"a', '{"write": {"a": {}}}', "[]"):
        BUSY.write_text(text)
        assert "it was removed" in mend()[0]
        assert not BUSY.exists()
    with subprocess.Popen(["sleep", "60"]) as stranger:  # a number that the system gave away again
        BUSY.write_text(json.dumps({"write": {"/a": {"pid": stranger.pid, "cmd": "dvc repro"}}, "read": {}}))
        assert mend()
        stranger.kill()
    unburied = subprocess.Popen(["true"])
    os.waitid(os.P_PID, unburied.pid, os.WEXITED | os.WNOWAIT)
    BUSY.write_text(json.dumps({"write": {"/a": {"pid": unburied.pid, "cmd": "dvc repro"}}, "read": {}}))
    assert mend()
    unburied.wait()
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc"])
    BUSY.write_text(json.dumps({"write": {}, "read": {"/a": [{"pid": ours.pid, "cmd": "dvc repro"}]}}))
    assert mend() == []
    ours.kill()
    ours.wait()


def test_dvc_s_writes_change_the_file_whole_or_not_at_all(good):
    fs = file_system()
    lock, busy = os.path.abspath(LOCK), os.path.abspath(BUSY)
    writing = fs.open(lock, "w+", encoding="utf-8")
    file = writing.__enter__()
    file.write("half")
    file.flush()
    assert LOCK.read_text() == good
    assert not writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert LOCK.read_text() == good
    with fs.open(lock, "w+", encoding="utf-8") as file:
        file.write(f"{good}\n")
    assert LOCK.read_text() == COPY.read_text() == f"{good}\n"
    with fs.open(busy, "w", encoding="utf-8") as file:
        file.write("{}")
    assert BUSY.read_text() == "{}"


def names(text: str) -> list[str]:
    return list(YAML(typ="safe").load(text)["stages"])


def test_dvc_sees_and_writes_the_entry_of_its_stage_and_the_others_stay_as_they_are(good):
    stages = names(good)
    fs, lock = file_system(stage=stages[1]), os.path.abspath(LOCK)
    with fs.open(lock, encoding="utf-8") as file:
        part = file.read()
    assert names(part) == [stages[1]]
    with fs.open(lock, "w+", encoding="utf-8") as file:
        file.write(part.replace("cmd: python", "cmd: nice python"))
    assert names(LOCK.read_text()) == stages
    assert len(set(LOCK.read_text().splitlines()) ^ set(good.splitlines())) == 2
    with fs.open(lock, "w+", encoding="utf-8") as file:
        file.write(part)
    assert LOCK.read_text() == good
    assert names(of_stage(good, "a stage that never ran")) == stages[:1]
    fifth = part.replace(f"  {stages[1]}:", "  new:")
    assert with_stage(good, fifth) == good + fifth[fifth.index("  new:") :]


def test_a_dvc_lock_of_another_layout_is_left_to_dvc(good):
    flow = '{"schema": "2.0", "stages": {}}\n'
    assert of_stage(flow, "check") == flow
    assert with_stage(flow, good) == good
    assert of_stage(good, "long" * 40) == good
