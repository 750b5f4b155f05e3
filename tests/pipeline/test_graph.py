"""The whole DVC graph at toy size: run, run again, edited. Each test has a finished project of its own."""

import json
import subprocess
from pathlib import Path

import pytest
from dvc.cli import main as dvc
from dvc.repo import Repo

from data.pairs.manifest import read_pairs, verify
from tests.pipeline.projects import GIT, NETWORK, edit, repro, to_run

pytestmark = pytest.mark.graph

SIAMESE_CHAIN = {
    "refiner@phantom-siamese", "train@phantom-siamese", "sample@phantom-siamese-random",
    "sample_volume@phantom-siamese-random", "features@phantom-siamese-random-demo", "inspect@phantom-siamese-random",
    "score@phantom-siamese-random", "pictures@phantom", "filter@phantom-siamese-random-loose",
    "segment_filtered@phantom-siamese-loose-random-unet-0", "segment@phantom-siamese-random-unet-1-0",
    "segment_volume@phantom-siamese-random-unet-2-0", "report",
}  # fmt: skip
ONCE, TWICE = "outputs/samples/phantom/siamese-random/x1", "outputs/volume/phantom/siamese-random/x2"


def test_the_first_run_builds_everything(finished, monkeypatch):
    monkeypatch.chdir(finished)
    with Repo() as repo:
        stages = {stage.addressing for stage in repo.index.stages} - {"check"}
    assert set(json.loads(Path("../ran.json").read_text())) == stages
    assert {"judge@phantom"} | SIAMESE_CHAIN <= stages
    assert (finished / "results/report.html").stat().st_size > 10_000
    assert "siamese" in (finished / "results/tables/phantom.md").read_text()
    once, twice = (read_pairs(finished / path) for path in (ONCE, TWICE))
    assert (len(once), len(twice)) == (12, 24)
    assert set(once.pairs) < set(twice.pairs)
    verify(twice)


def test_the_mask_written_is_the_mask_given(finished):
    pairs = read_pairs(finished / ONCE)
    for pair in pairs.pairs:
        given = finished / "outputs/masks/phantom/random/1" / pair.mask
        assert (pairs.folder / pair.mask).read_bytes() == given.read_bytes()


def test_the_second_run_does_nothing(project):
    assert repro() == set()


def test_another_multiple_runs_only_its_segmenters(project):
    edit(lambda p: p["volume"].update(multiples=[2, 3]))
    assert repro() == {
        "sample_volume@phantom-siamese-random", "segment_volume@phantom-siamese-random-unet-3-0", "report",
    }  # fmt: skip
    assert len(read_pairs(Path("outputs/volume/phantom/siamese-random/x3"))) == 36


def test_an_edit_runs_what_hangs_on_it_and_nothing_else(project):
    """As DVC sees a project that has run; test_edits.py has every kind of edit."""
    edit(lambda p: p["architectures"].update(other={**NETWORK, "epochs": 2}))
    assert to_run() == set()
    edit(lambda p: p["generators"]["siamese"].update(w_c=0.5))
    assert to_run() == SIAMESE_CHAIN


def test_metrics_and_plots_can_be_read(project, capsys):
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run([*GIT, "commit", "-qm", "results"], check=True)
    capsys.readouterr()
    assert dvc(["metrics", "show", "results/segmentation"]) == 0
    shown = capsys.readouterr().out
    assert "mDice" in shown
    assert "siamese-random-x2-s0.json" in shown
    edit(lambda p: p["architectures"]["unet"].update(lr=1.0e-2))
    repro("segment_baseline@phantom-real-real-unet-1-0")
    capsys.readouterr()
    assert dvc(["metrics", "diff", "--targets", "results/segmentation"]) == 0
    changed = capsys.readouterr().out
    assert "real-real-x1-s0.json" in changed
    assert "siamese-random-x2-s0.json" not in changed
    assert dvc(["plots", "show", "results/plots", "--out", "plots"]) == 0
    assert "multiple" in Path("plots/index.html").read_text()
