"""The whole DVC graph at toy size: run, run again, edited. Each test has a finished project of its own."""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dvc.cli import main as dvc
from dvc.repo import Repo

from data.exports.verify import verify
from data.pairs.manifest import read_pairs
from tests.data.layouts import trees
from tests.pipeline.projects import GIT, NETWORK, edit, repro, several, to_run

pytestmark = pytest.mark.graph

SIAMESE_CHAIN = {
    "refiner@phantom-siamese", "train@phantom-siamese-0", "sample@phantom-siamese-0-random",
    "sample_volume@phantom-siamese-0-random-2", "features@phantom-siamese-0-random-lite0",
    "inspect@phantom-siamese-0-random", "score@phantom-siamese-0-random", "pictures@phantom",
    "filter@phantom-siamese-loose-0-random", "segment_filtered@phantom-siamese-loose-0-random-unet-0",
    "segment@phantom-siamese-0-random-unet-1-0", "segment_volume@phantom-siamese-0-random-unet-2-0", "report",
}  # fmt: skip
ONCE, TWICE = "outputs/samples/x1/phantom/siamese-g0-random", "outputs/samples/x2/phantom/siamese-g0-random"


def test_the_first_run_builds_everything(finished, monkeypatch):
    monkeypatch.chdir(finished)
    with Repo() as repo:
        stages = {stage.addressing for stage in repo.index.stages} - {"check"}
    assert set(json.loads(Path("../ran.json").read_text())) == stages
    assert {"judge@phantom"} | SIAMESE_CHAIN <= stages
    assert 10_000 < (finished / "results/report.html").stat().st_size < 4_000_000
    assert "siamese" in (finished / "results/tables/phantom.md").read_text()
    once, twice = (read_pairs(finished / path) for path in (ONCE, TWICE))
    assert (len(once), len(twice)) == (12, 24)
    assert set(once.pairs) < set(twice.pairs)
    verify(twice)


def drawn(project: Path) -> dict[Path, int]:
    """Return when each image of siamese for random masks was drawn."""
    folder = project / ".work/sample/phantom/siamese-g0/random"
    return {path.relative_to(project): path.stat().st_mtime_ns for path in folder.glob("*/*/train-*.png")}


def test_what_1x_drew_is_not_drawn_again_for_2x(finished):
    """Both stages have one scratch folder, and the masks of 2x, which it draws itself, are those of the first stage."""
    assert len(drawn(finished)) == 24
    for copy in ("1", "2"):
        written = sorted((finished / "outputs/masks/phantom/random" / copy / "masks").iterdir())
        assert len(written) == 12
        assert all(path.read_bytes() == (finished / TWICE / "masks" / path.name).read_bytes() for path in written)


def test_the_mask_written_is_the_mask_given(finished):
    pairs = read_pairs(finished / ONCE)
    for pair in pairs.pairs:
        given = finished / "outputs/masks/phantom/random/1" / pair.mask
        assert (pairs.folder / pair.mask).read_bytes() == given.read_bytes()


def test_the_second_run_does_nothing(project):
    assert repro() == set()


def test_another_multiple_runs_only_its_segmenters(project):
    before = drawn(project)
    edit(lambda p: p["volume"].update(multiples=[2, 3]))
    assert repro() == {
        "sample_volume@phantom-siamese-0-random-3", "segment_volume@phantom-siamese-0-random-unet-3-0", "report",
    }  # fmt: skip
    assert len(read_pairs(Path("outputs/samples/x3/phantom/siamese-g0-random"))) == 36
    assert len(before) == 24
    assert before.items() <= drawn(project).items()


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
    assert "siamese-g0-random-x2-s0.json" in shown
    edit(lambda p: p["architectures"]["unet"].update(lr=1.0e-2))
    repro("segment_reference@phantom-real--real-unet-1-0")
    capsys.readouterr()
    assert dvc(["metrics", "diff", "--targets", "results/segmentation"]) == 0
    changed = capsys.readouterr().out
    assert "real-real-x1-s0.json" in changed
    assert "siamese-g0-random-x2-s0.json" not in changed
    assert dvc(["plots", "show", "results/plots", "--out", "plots"]) == 0
    assert "multiple" in Path("plots/index.html").read_text()


def test_a_download_is_fetched_unpacked_and_prepared_by_two_rows(project, tmp_path):
    tree = tmp_path / "made"
    trees.folders(tree)
    shutil.make_archive(str(tmp_path / "served/set"), "zip", tree)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/set.zip"
        download = {"page": "here", "licence": "none", "archives": [{"name": "set.zip", "url": url}]}
        row = {"kind": "folder", "path": "data/raw/mine", "size_px": 32, "prompt": "p"}
        edit(lambda p: p.update(downloads={"mine": download}))
        edit(lambda p: p["datasets"].update(mine={**row, "splits": {"train": "train", "test": "test"}}))
        edit(lambda p: p["datasets"].update(fold={**row, "folds": {"count": 3, "test": 0}}))
        refused = several("prepare@mine")
        assert (refused.returncode, Path("data/downloads/mine").exists()) == (2, False)
        assert "set downloads.mine.accept_licence: true in params.yaml" in refused.stderr
        edit(lambda p: p["downloads"]["mine"].update(accept_licence=True))
        assert repro("prepare@mine", "prepare@fold") == {"acquire@mine", "prepare@mine", "prepare@fold"}
        server.shutdown()
    assert len(read_pairs(Path("data/processed/mine/train"))) == 4
    assert len(read_pairs(Path("data/processed/fold/test"))) == 3
    assert "set.zip" in json.loads(Path("data/checksums/mine.json").read_text())
    shutil.rmtree("data/raw/mine")
    assert repro("prepare@mine") == {"acquire@mine"}  # from the archive on disk: the server is gone


def test_bad_params_stop_before_anything_runs(project):
    edit(lambda p: p["training"].update(stepz=3))
    done = subprocess.run([sys.executable, "-m", "pipeline", "report"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "training.stepz: unknown key (did you mean 'steps'?)" in done.stderr
    assert "Traceback" not in done.stderr
