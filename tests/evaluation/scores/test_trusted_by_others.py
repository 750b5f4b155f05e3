"""What others open: no formula in a table, no link but http in a card, no module of a stranger's folder."""

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from data.pairs.manifest import Pair, read_pairs, write_manifest
from data.pairs.tables import as_cell, csv_text, of_cell
from evaluation.audit.config import CRITERIA
from evaluation.audit.filters import read_scores
from tests.contracts.imports import ROOT
from tests.evaluation.cards.test_cards import FACTS, cards

IDS = ["=1+1", "+cmd", "-a", "@x", "'=y", "''=z", "'plain", "\tq", "-1", "+2.5", "a=b", "p1", ""]


@pytest.mark.parametrize("text", IDS)
def test_a_cell_is_no_formula_and_is_read_back(text):
    cell = as_cell(text)
    assert of_cell(cell) == text
    assert cell[:1] not in ("=", "@", "\t")
    assert cell[:1] not in ("+", "-") or float(cell)


def test_numbers_stay_numbers():
    assert [as_cell(value) for value in (-1.5, -2, None, "-3")] == [-1.5, -2, None, "-3"]


def test_tables_and_manifests_keep_their_ids(tmp_path):
    ids = sorted(set(IDS) - {""})
    text = csv_text(["id", *CRITERIA], ([name, *[-1.0] * len(CRITERIA)] for name in ids))
    assert not [row[0] for row in csv.reader(io.StringIO(text)) if row[0][:1] in ("=", "@")]
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert [row["id"] for row in read_scores(tmp_path / "a.csv")] == ids
    write_manifest(tmp_path, [Pair(name, "a.png", "b.png", "train", "real", parent=name) for name in ids])
    assert [(pair.id, pair.parent) for pair in read_pairs(tmp_path).pairs] == [(name, name) for name in ids]


@pytest.mark.parametrize("page", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http:x"])
def test_a_card_links_to_http_alone(page):
    text = "[terms](javascript:alert(1))"
    for card in cards(replace(FACTS, page=page, licence=text, citation=text)):
        assert "license_link" not in card
        assert "](" not in card.replace("\\](", "")
    dataset_card, *_ = cards(replace(FACTS, page="https://example.org/x"))
    assert "license_link: https://example.org/x" in dataset_card


@pytest.mark.parametrize("name", ["PIL.py", "argparse.py", "numpy/__init__.py", "data/__init__.py", "data.py"])
def test_nothing_is_imported_from_the_folder_that_it_is_run_in(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("import pathlib; pathlib.Path('imported').touch(); raise SystemExit(3)")
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "pipeline", "doctor", "."]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert not (tmp_path / "imported").exists()
    assert done.returncode == 2
    assert "holds no pairs" in done.stderr
