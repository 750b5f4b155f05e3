"""Presets: valid, composed as they say, a toy twin for each of the paper's, and every cell of its tables asked for."""

import re
import shutil
from itertools import combinations, product

import pytest
from dvc.repo import Repo

from data.pairs.errors import UserError
from evaluation.paper.facts import read_paper
from pipeline.cli import main
from pipeline.commands.preset import run
from pipeline.params.blocks import BLOCKS, asked_runs, scored_sets
from pipeline.params.presets import TABLES, composed, preset_names, presets_of, sections
from pipeline.params.read import read_params
from tests.contracts.imports import ROOT

PAPER = sorted(path.stem for path in (ROOT / "presets").glob("paper-*.yaml"))
TOY = [name.replace("paper", "toy") for name in PAPER]


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


def cells(key: str, facts) -> set[tuple]:
    """Return what each cell of a table needs: a scored set, or a run of a segmenter."""
    needed = set()
    for row, column in product(facts.rows, facts.flat()):
        made = (row.source, row.masks)
        run = (column.at.dataset, row.architecture or column.at.architecture, *made, row.multiple)
        needed.add((key, column.at.dataset, *made) if column.at.images else (key, *run))
    return needed


def asked(key: str, name: str) -> set[tuple]:
    """Return the same of what a preset asks for."""
    comparison = read_params(ROOT / f"presets/{name}.yaml").comparison
    scored = {(key, dataset, *made) for dataset in comparison.datasets for *made, _ in scored_sets(comparison)}
    return scored | {(key, *run) for run in runs_of(name)}


@pytest.mark.parametrize("key", read_paper().tables)
def test_every_cell_of_the_paper_is_asked_for_by_the_presets_of_its_table(key):
    """For the scores of sets that nothing trains on see Table 1."""
    names = [path.stem for path in presets_of("paper", key)]
    needed = cells(key, read_paper().tables[key])
    assert needed
    assert needed <= set().union(*(asked(key, name) for name in names))


def test_tables_has_every_preset_of_the_paper():
    assert sorted(path.stem for path in presets_of("paper", *TABLES)) == PAPER


def test_presets_share_settings_and_differ_in_what_they_ask_for():
    """Outputs that two presets share are made once: every row of one is that of the other."""
    found = [read_params(ROOT / f"presets/{name}.yaml").model_dump(exclude=set(BLOCKS)) for name in PAPER]
    for one, other in combinations(found, 2):
        for section in one:
            if section in ("datasets", "downloads"):  # those of a preset alone
                shared = one[section].keys() & other[section].keys()
                assert {name: one[section][name] for name in shared} == {name: other[section][name] for name in shared}
            else:
                assert one[section] == other[section], section
    assert len({frozenset(runs_of(name)) for name in PAPER}) == len(PAPER)


@pytest.mark.parametrize("name", TOY)
def test_dvc_resolves_every_toy_preset_without_a_clash(name, tmp_path, monkeypatch):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    run({"name": name, "out": tmp_path / "params.yaml"})
    params = read_params(tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repo:
        names = {stage.addressing for stage in repo.index.graph}
    segmenters = {name for name in names if name.startswith("segment")}
    assert len(segmenters) == len(set(asked_runs(params)))
    trained = product(params.comparison.datasets, params.comparison.generators)
    assert {f"train@{dataset}-{generator}-0" for dataset, generator in trained} <= names


def test_sections_are_taken_whole_and_keep_their_comments(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "# first\none:  # of a\n  x: 1\ntwo: {seeds: [0, 1]}\ncomparison:\n  seeds: [0, 1]\n"
    )
    (tmp_path / "b.yaml").write_text("# second\nextends: [a.yaml]\n\none: {y: 2}  # of b\n")
    text = composed(tmp_path / "b.yaml")
    assert text.startswith("# second\n")
    assert "# of a" not in text
    assert "one: {y: 2}  # of b" in text
    assert "two: {seeds: [0, 1]}" in text
    assert "comparison:\n  seeds: [0, 1]" in text
    (tmp_path / "a.yaml").write_text("extends: [b.yaml]\n")
    with pytest.raises(UserError, match="extends itself"):
        composed(tmp_path / "b.yaml")


def test_names_are_listed_and_a_wrong_one_is_told(tmp_path):
    assert {"kvasir-seg-64", "paper-table6-isic", "toy-table4"} <= set(preset_names())
    assert not {"_toy", "_paper", "toy-all"} & set(preset_names())
    with pytest.raises(UserError, match="no such preset") as error:
        run({"name": "paper-tabel2", "out": tmp_path / "params.yaml"})
    assert "paper-table2" in str(error.value)
    assert not (tmp_path / "params.yaml").exists()


def test_a_preset_of_one_table_prepares_its_own_data_sets_alone():
    found = read_params(ROOT / "presets/paper-table3.yaml")
    assert (set(found.datasets), set(found.downloads)) == ({"isic2016", "isic2018"}, {"isic2016", "isic2018"})
    found = read_params(ROOT / "presets/toy-table4.yaml")
    assert (set(found.datasets), set(found.downloads)) == ({"stain", "faeces"}, set())


@pytest.mark.parametrize("name", ["toy-table1", "presets/toy-table1.yaml", "kvasir-seg-64", "params.yaml"])
def test_a_file_may_be_a_preset_by_its_name(name, capsys):
    assert main(["params", "--file", name]) == 0
    assert "comparison:" in capsys.readouterr().out
