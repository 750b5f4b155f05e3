"""A generator that makes its own masks through DVC: samples, multiples, filters, scores and the page."""

import csv
from pathlib import Path

import pytest

from data.exports.verify import verify
from data.pairs.image_io import png_text
from data.pairs.manifest import read_pairs
from pipeline.run.prefork import VARIABLE
from tests.pipeline.projects import repro, shrink, stand_in_project

pytestmark = pytest.mark.graph
ROW = {"method": "singan_seg", "min_size": 16, "max_size": 32, "factor": 0.5, "width": 4, "iterations": 6, "d_steps": 1}


def small(data) -> None:
    shrink(data)
    data["generators"]["own"] = {**ROW, "parallel": 5}
    data["datasets"]["phantom"]["normal"] = {"crops": 4, "side": 0.3}
    for block in ("comparison", "volume", "filtered"):
        data[block].update(generators=["own"], masks=["real"])
    data["comparison"]["baselines"] = []
    data["filters"] = {"best": {"best_of": 2}, "loose": {"max_colour_drift": 1.0e6}}
    data["filtered"]["filters"] = ["best", "loose"]


def test_own_masks_run_to_the_page(libraries, tmp_path, monkeypatch):
    stand_in_project(tmp_path / "project", small, monkeypatch)
    monkeypatch.setenv(VARIABLE, libraries)
    assert "report" in repro()
    samples = Path("outputs/samples")
    once, twice = (read_pairs(samples / f"x{multiple}/phantom/own-g0-real") for multiple in (1, 2))
    real = {pair.id: pair for pair in read_pairs(Path("data/processed/phantom/train")).pairs}
    for pairs in (once, twice, *(read_pairs(samples / f"x1/phantom/own-{name}-g0-real") for name in ("best", "loose"))):
        verify(pairs)
        assert {pair.parent for pair in pairs.pairs} <= real.keys()
        assert all(pair.mask_sha256 != real[pair.parent].mask_sha256 for pair in pairs.pairs)
        assert png_text(pairs.folder / pairs.pairs[0].image)["near-copy"] == "yes"
    assert [pair.image_sha256 for pair in once.pairs] == [
        pair.image_sha256 for pair in twice.pairs if pair.id.endswith("-1")
    ]
    with (once.folder / "provenance.csv").open() as file:
        assert [row["parent"] for row in csv.DictReader(file)] == [pair.parent for pair in once.pairs]
    assert len(read_pairs(Path("data/processed/phantom/pools/normal"))) == 4
    table = Path("results/tables/phantom.md").read_text()
    assert "| own | own |" in table
    assert "| own-best | own |" in table
    assert repro() == set()
