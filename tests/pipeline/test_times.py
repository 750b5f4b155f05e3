"""What a report says of its origin, and the table of times."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.pairs.errors import UserError
from data.pairs.files import write_json
from data.prepare.config import FolderDataset, PhantomDataset
from pipeline.params.read import read_params
from pipeline.plan import times
from pipeline.stages.report import provenance
from tests.contracts.imports import ROOT
from tests.pipeline.projects import GIT


def test_times_are_told_by_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no stage was measured"):
        times.run({"out": Path("out")})
    for stage, seconds in (("train@a-b", 7.5), ("segment@a-x", 2.0), ("segment@a-y", 3.0)):
        record = {"stage": stage, "kind": "k", "seconds": seconds, "peak_mib": 100.0, "device": "cpu"}
        write_json(times.FOLDER / f"{stage}.json", record)
    times.run({"out": Path("out")})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["train", "1", "7.5", "100"]
    assert lines[2].split() == ["segment", "2", "5.0", "100"]
    assert Path("out/times.csv").read_text().splitlines()[1] == "train@a-b,k,7.5,100,cpu"


def test_the_lock_counts_without_the_report_and_in_any_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = PhantomDataset(kind="phantom", path="p", size_px=32, prompt="", train=4, test=4, seed=0)
    mine = FolderDataset(
        kind="folder", path="/d", size_px=32, prompt="", splits={"train": 0.5, "test": 0.5}, licence="CC0 1.0"
    )
    params = SimpleNamespace(datasets={"drawn": drawn, "mine": mine}, downloads={})
    found = []
    for text in (
        "stages:\n  a: {x: 1}\n  b: {x: 2}\n  report: {x: 1}\n",
        "stages:\n  b: {x: 2}\n  report: {}\n  a: {x: 1}\n",
    ):
        Path("dvc.lock").write_text(text)
        found.append(provenance(params, {"torch": "9"}))
    assert found[0] == found[1]
    assert found[0]["stages before the report"].startswith("2 in dvc.lock, SHA-256 ")
    assert found[0]["data set mine"] == "folder, /d; CC0 1.0"
    assert found[0]["data set drawn"] == "phantom, p; drawn by this project"
    Path("dvc.lock").write_text("stages:\n  a: {x: 1}\n  b: {x: 3}\n")
    assert provenance(params, {}) != found[0]


def test_the_page_calls_a_commit_dirty_for_code_and_params_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = read_params(ROOT / "params.yaml")

    def code() -> str:
        return provenance(params, {})["code"]

    assert code() == "not a git checkout"
    names = (
        "params.yaml",
        "dvc.lock",
        "README.md",
        "siamese/method/step.py",
        "results/a.json",
        "results/b.yaml",
        "tests/t.py",
    )
    for name in (*names, "data/checksums/x.json", "evaluation/page.html.j2"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_text("v: 1\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*GIT, *words], check=True)
    clean = code()
    for name in ("dvc.lock", "README.md", "results/a.json", "results/b.yaml", "tests/t.py", "data/checksums/x.json"):
        Path(name).write_text("v: 2\n")
    assert code() == clean
    for name in ("params.yaml", "siamese/method/step.py", "evaluation/page.html.j2"):
        Path(name).write_text("v: 2\n")
        assert code() == f"{clean}-dirty", name
        Path(name).write_text("v: 1\n")
