"""A handful of pairs: the row that the doctor suggests runs to the page, or a sentence says why not."""

import json
from pathlib import Path

import pytest

from data.doctor.doctor import examine
from pipeline.run.prefork import VARIABLE
from tests.data.layouts import trees
from tests.pipeline.projects import repro, shrink, stand_in_project


def pairs(root: Path, count: int) -> dict:
    for number in range(count):
        name = f"case{chr(97 + number)}.png"
        trees.save(root / "images" / name, root / "masks" / name)
    return examine(root)[0]


def test_one_pair_is_too_few(tmp_path):
    result = pairs(tmp_path, 1)
    assert result["row"] is None
    assert "no pairs are left for it: its share of 1 pair is too small" in result["stops"][0]


@pytest.mark.graph
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)])
def test_few_pairs_run_to_the_page(count, libraries, tmp_path, monkeypatch):
    result = pairs(tmp_path / "raw", count)
    assert result["stops"] == []

    def few(data) -> None:
        shrink(data)
        data["datasets"]["phantom"] = json.loads(json.dumps(result["row"] | {"size_px": 32}))
        data["comparison"].update(generators=["siamese"], references=["real"], baselines=[])
        data["training"].update(steps=4)

    stand_in_project(tmp_path / "project", few, monkeypatch)
    monkeypatch.setenv(VARIABLE, libraries)
    assert "report" in repro()
    assert Path("results/report.html").stat().st_size > 10_000
