"""A stage that was killed goes on from its scratch folder, and ends with the bytes of one that nobody disturbed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data.pairs.files import sha256_tree
from pipeline.cli import main
from pipeline.run.prefork import VARIABLE
from tests.pipeline.projects import edit, repro

pytestmark = pytest.mark.graph


def kill_when(target: str, ready: Callable[[], bool]) -> None:
    """Start `dvc repro target`, kill it and its stage as soon as ready() says so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", target],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != VARIABLE},  # a stage in its own process
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def undisturbed(out: Path, verb: str, *options: str) -> str:
    """Run a stage's command with nothing to resume from, and return the hash of what it leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIAMESE_WORK", ".work/undisturbed")
        assert main([verb, "--dataset", "phantom", "--generator", "siamese", "--generator_seed", "0", *options]) == 0
    return sha256_tree(out)


def test_training_that_was_killed_goes_on_and_ends_with_the_same_bytes(project):
    edit(lambda p: p["generators"]["siamese"].update(w_c=0.5))
    out, work = Path("outputs/generators/phantom/siamese-g0"), Path(".work/train/phantom/siamese-g0")
    before = sha256_tree(out)

    def checkpoints() -> bool:
        return bool(list(work.glob("*/step-[0-9]*")))

    kill_when("train@phantom-siamese-0", checkpoints)
    assert not out.exists()
    assert checkpoints()
    assert repro("train@phantom-siamese-0") == {"train@phantom-siamese-0"}
    resumed = sha256_tree(out)
    assert resumed != before
    assert undisturbed(out, "train") == resumed


def test_sampling_that_was_killed_goes_on_and_ends_with_the_same_bytes(project):
    edit(lambda p: p["sampling"].update(seed=1))
    out, work = Path("outputs/samples/x1/phantom/siamese-g0-random"), Path(".work/sample/phantom/siamese-g0/random")
    before = set(work.glob("*/*/*.png"))

    def drawn() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in set(work.glob("*/*/train-*.png")) - before}

    kill_when("sample@phantom-siamese-0-random", lambda: len(drawn()) >= 2)
    kept = drawn()
    assert 2 <= len(kept) < 12
    assert not out.exists()
    assert repro("sample@phantom-siamese-0-random") == {"sample@phantom-siamese-0-random"}
    whole = sorted(kept)[: len(kept) // 2 * 2]  # a last batch of one image is drawn again
    assert [path.stat().st_mtime_ns for path in whole] == [kept[path] for path in whole]
    resumed = sha256_tree(out)
    assert undisturbed(out, "sample", "--masks", "random") == resumed
