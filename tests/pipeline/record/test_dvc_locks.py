"""Locks that a killed DVC has left are named; what a DVC before core.hardlink_lock has left is taken away."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from data.pairs.errors import UserError
from pipeline.plan.dvc_states import stages_to_run
from pipeline.record import dvc_locks
from tests.pipeline.projects import GIT

LOCK, OTHER = Path(".dvc/tmp/lock"), Path(".dvc/tmp/rwlock.lock")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Stand in a repository of one stage whose lock is by flock so far."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc_locks, "WAIT_S", 1)
    subprocess.run([*GIT, "init", "-q"], check=True)
    Path("dvc.yaml").write_text("stages:\n  one:\n    cmd: touch out\n    outs: [out]\n")
    with Repo.init() as repo:
        assert set(repo.status()) == {"one"}
        with repo.config.edit("local") as config:
            config["core"]["hardlink_lock"] = True


def leave_a_lock(path: Path) -> None:
    """Let a process die while it holds a lock of DVC."""
    code = "import os, sys; from dvc.lock import HardlinkLock"
    code += "; HardlinkLock(sys.argv[1], tmp_dir='.dvc/tmp').lock(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9


def test_what_flock_has_left_does_not_block_the_first_run_with_hard_links(repository):
    for path in (LOCK, OTHER):
        path.touch()
    assert dvc_locks.held_locks() == []
    assert stages_to_run([]) == {"one": set()}
    assert not LOCK.exists()


@pytest.mark.heavy
def test_a_lock_that_a_killed_dvc_has_left_is_named_with_what_frees_it(repository):
    stages_to_run([])
    leave_a_lock(LOCK)
    with pytest.raises(UserError) as error:
        stages_to_run([])
    assert str(error.value).count("remove it then: rm .dvc/tmp/lock") == 1
    assert LOCK.exists()
    LOCK.unlink()
    assert stages_to_run([]) == {"one": set()}


def test_the_age_of_a_lock_is_that_of_its_taking(repository):
    stages_to_run([])
    leave_a_lock(OTHER)
    assert "rm .dvc/tmp/rwlock.lock" in dvc_locks.held_locks()[0]
    assert dvc_locks.held_locks(120) == []
    earlier = time.time() + dvc_locks.LIFETIME_S - 300
    os.utime(OTHER, (earlier, earlier))
    assert ".dvc/tmp/rwlock.lock is held for 30" in dvc_locks.held_locks(120)[0]


def test_a_lock_by_flock_that_is_held_stays(repository):
    with Repo() as repo, repo.config.edit("local") as config:
        config["core"]["hardlink_lock"] = False
    with Repo() as repo, repo.lock:
        inode = LOCK.stat().st_ino
        dvc_locks.drop_files_of_flock()
        assert LOCK.stat().st_ino == inode
