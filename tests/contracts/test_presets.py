"""Presets: valid, composed as they say, a toy twin for each of the paper's, and every cell of its tables asked for."""

import re
import shutil

import pytest
from dvc.repo import Repo

from data.pairs.errors import UserError
from evaluation.paper.facts import read_paper
from pipeline.commands.preset import run
from pipeline.params.blocks import BLOCKS, asked_runs, scored_sets, set_lists
from pipeline.params.presets import composed, preset_names, sections
from pipeline.params.schema import read_params
from tests.contracts.imports import ROOT

PAPER = sorted(path.stem for path in (ROOT / "presets").glob("paper-*.yaml"))


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(ROOT)


def runs_of(name: str) -> set[tuple]:
    """Return what a preset asks for without seeds."""
    return {run[:5] for run in asked_runs(read_params(ROOT / f"presets/{name}.yaml"))}


@pytest.mark.parametrize("name", PAPER)
def test_the_toy_twin_is_the_same_graph(name):
    toy, paper = (sections(composed(ROOT / f"presets/{one}.yaml")) for one in (name.replace("paper", "toy"), name))
    for block in BLOCKS:
        assert re.sub(r"seeds: .*", "", toy[block]) == re.sub(r"seeds: .*", "", paper[block])
    assert "seeds: [0]" in toy["comparison"]
    assert "phantom" in toy["datasets"]
    assert "phantom" not in paper["datasets"]


def test_the_whole_holds_every_table():
    every = runs_of("paper-all")
    for name in PAPER:
        if name != "paper-table1":  # trains a segmenter for its report alone
            assert runs_of(name) - {run for run in runs_of(name) if run[2] == "real"} <= every, name


@pytest.mark.parametrize("name", ["paper-all", *(one for one in PAPER if one != "paper-all")])
def test_every_cell_of_the_paper_is_asked_for(name):
    """But those of pairs that must be imported. A preset of one table asks for that table."""
    paper, wanted = read_paper(), runs_of(name)
    params = read_params(ROOT / f"presets/{name}.yaml")
    lists = {key: _value(params, key) for key in set_lists()}
    for key, facts in paper.tables.items():
        if name != "paper-all" and not name.endswith(key):
            continue
        for row in facts.rows:
            if row.source in paper.imported:
                continue
            for column in facts.flat():
                if column.at.images:
                    assert (row.source, row.masks) in scored_sets(lists, column.at.dataset), (
                        key,
                        row.name,
                        column.name,
                    )
                else:
                    architecture = row.architecture or column.at.architecture
                    run = (column.at.dataset, architecture, row.source, row.masks, row.multiple)
                    assert run in wanted, (key, row.name, column.name)


def _value(params, key: str):
    block, name = key.split(".")
    return getattr(getattr(params, block), name)


def test_dvc_resolves_the_whole_without_a_clash(tmp_path, monkeypatch):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    run({"name": "toy-all", "out": tmp_path / "params.yaml"})
    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repo:
        names = {stage.addressing for stage in repo.index.graph}
    assert len(names) > 350
    assert {"train@polyps-arsdm", "score_2@isic2018-wc_0_5-real", "segment_2@isic2016-siamese-real-unet-1-0"} <= names
    assert "segment_second_volume@faeces-t2i_adapter-random-segformer_synthetic-4-0" in names


def test_sections_are_taken_whole_and_keep_their_comments(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "# first\none:  # of a\n  x: 1\ntwo: {seeds: [0, 1]}\ncomparison:\n  seeds: [0, 1]\n"
    )
    (tmp_path / "b.yaml").write_text("# second\nextends: [a.yaml]\n\none: {y: 2}  # of b\nseeds: [7]\n")
    text = composed(tmp_path / "b.yaml")
    assert text.startswith("# second\n")
    assert "# of a" not in text
    assert "one: {y: 2}  # of b" in text
    assert "two: {seeds: [0, 1]}" in text
    assert "comparison:\n  seeds: [7]" in text
    (tmp_path / "a.yaml").write_text("extends: [b.yaml]\n")
    with pytest.raises(UserError, match="extends itself"):
        composed(tmp_path / "b.yaml")


def test_names_are_listed_and_a_wrong_one_is_told(tmp_path):
    assert {"kvasir-seg-64", "paper-all", "toy-table4"} <= set(preset_names())
    assert "_toy" not in preset_names()
    with pytest.raises(UserError, match="no such preset") as error:
        run({"name": "paper-tabel2", "out": tmp_path / "params.yaml"})
    assert "paper-table2" in str(error.value)
    assert not (tmp_path / "params.yaml").exists()


def test_a_preset_of_one_table_prepares_its_own_data_sets_alone():
    found = read_params(ROOT / "presets/paper-table3.yaml")
    assert (set(found.datasets), set(found.downloads)) == ({"isic2016", "isic2018"}, {"isic2016", "isic2018"})
    found = read_params(ROOT / "presets/toy-table4.yaml")
    assert (set(found.datasets), set(found.downloads)) == ({"stain", "faeces"}, set())
    assert len(read_params(ROOT / "presets/paper-all.yaml").datasets) == 5
