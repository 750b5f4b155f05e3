"""plan: what DVC itself would do, told before, without touching anything; and all that is missing, at once."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from data.pairs.files import sha256_tree
from data.pretrained import lite0
from pipeline.cli import main
from pipeline.params.read import read_params
from pipeline.plan.dvc_states import Planned, plan_stages
from pipeline.plan.plan import Row, longest_chain
from pipeline.plan.times import FOLDER, Record, kind_of, last_of_its_kind, read_records, record
from tests.contracts.imports import ROOT
from tests.pipeline.projects import edit, shrink, stand_in_project

CHEAP = ["prepare@phantom", "refiner@phantom-siamese", "reference@phantom-duplicate"]  # that import no torch


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Stand in a fresh repository of what git tracks, with a small params.yaml."""
    path = tmp_path_factory.mktemp("plan") / "project"
    patch = pytest.MonkeyPatch()
    patch.delenv("METRIC_WEIGHTS", raising=False)
    stand_in_project(path, shrink, patch)
    yield path
    patch.undo()


@pytest.fixture
def ask(project, capsys):
    def plan(file: str = "params.yaml", code: int = 0) -> dict:
        assert main(["plan", "--json", "--file", file]) == code
        return json.loads(capsys.readouterr().out)

    return plan


def states(plan: dict) -> dict[str, str]:
    return {stage["stage"]: stage["state"] for stage in plan["stages"]}


def repro(*targets: str) -> set[str]:
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(targets=list(targets))} - {"check"}  # of any edit


def times() -> dict[str, int]:
    """Return when each stage itself last ran."""
    return {path.stem: path.stat().st_mtime_ns for path in Path(".work/times").glob("*.json")}


@pytest.mark.heavy
def test_a_preset_is_resolved_as_dvc_would_and_nothing_is_touched(ask, project):
    before = sha256_tree(project / "params.yaml"), subprocess.check_output(["git", "status", "--porcelain"])
    found = ask("presets/ablations.yaml")
    assert (sha256_tree(project / "params.yaml"), subprocess.check_output(["git", "status", "--porcelain"])) == before
    kept = Path("params.yaml").read_text()
    shutil.copy("presets/ablations.yaml", "params.yaml")
    with Repo() as repo:
        expected = {
            stage.addressing: {n.addressing for n in repo.index.graph.successors(stage)} - {"check"}
            for stage in repo.index.graph
            if stage.addressing != "check"  # which the plan has made by itself
        }
    Path("params.yaml").write_text(kept)
    assert {stage["stage"]: set(stage["needs"]) for stage in found["stages"]} == expected
    assert set(states(found).values()) == {"to run"}
    order = list(states(found))
    assert all(order.index(need) < order.index(name) for name, needs in expected.items() for need in needs)


@pytest.mark.heavy
def test_states_are_what_dvc_then_does(ask):
    assert repro(*CHEAP) == set(CHEAP)
    done = states(ask())
    assert {name for name, state in done.items() if state != "to run"} == set(CHEAP)
    assert {done[name] for name in CHEAP} == {"up to date"}
    shutil.rmtree("data/processed/phantom")
    shutil.rmtree("outputs/samples")
    gone = states(ask())
    assert [gone[name] for name in CHEAP] == ["cached", "up to date", "cached"]
    digest = YAML(typ="safe").load(Path("dvc.lock"))["stages"]["prepare@phantom"]["outs"][0]["md5"]
    Path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}").unlink()  # as in a clone: prepared data are not pushed
    lost = states(ask())
    assert [lost[name] for name in CHEAP] == ["to run", "up to date", "cached"]
    before = times()
    repro(*CHEAP)
    assert {name for name, when in times().items() if before[name] != when} == {"prepare@phantom"}
    assert {states(ask())[name] for name in CHEAP} == {"up to date"}


@pytest.mark.heavy
def test_a_run_that_the_cache_remembers_is_not_run_again(ask):
    repro("masks@phantom-random")
    edit(lambda data: data["masks"]["random"].update(seed=1))
    assert states(ask())["masks@phantom-random"] == "to run"
    assert repro("masks@phantom-random") == {"masks@phantom-random"}
    edit(lambda data: data["masks"]["random"].update(seed=0))
    found = states(ask())
    assert found["masks@phantom-random"] == "cached"
    assert found["sample@phantom-siamese-0-random"] == "to run"
    before = times()
    repro("masks@phantom-random")
    assert times() == before, "what comes out of the cache took no time of its own"


@pytest.mark.heavy
def test_time_is_that_of_the_stage_itself_or_the_last_of_its_kind(ask):
    own = json.loads(Path(".work/times/masks@phantom-random.json").read_text())
    assert own["seconds"] > 0
    assert own["peak_mib"] > 10
    edit(lambda data: data["masks"]["random"].update(copies=8))
    found = {stage["stage"]: stage for stage in ask()["stages"]}
    assert found["masks@phantom-random"]["seconds"] == own["seconds"]
    assert found["masks@phantom-random"]["measured_on"] == "masks@phantom-random"
    assert found["train@phantom-siamese-0"]["seconds"] is None
    assert found["train@phantom-siamese-0"]["measured_on"] is None
    assert found["sample@phantom-siamese-0-random"]["bytes"] == pytest.approx(
        found["prepare@phantom"]["bytes"] * 12 / 16, abs=1
    )
    edit(lambda data: data["masks"]["random"].update(copies=4))


def test_the_package_of_lite0_is_asked_for(project, monkeypatch, capsys):
    monkeypatch.setattr(lite0, "PACKAGE", "not-here-at-all")
    edit(lambda data: data["base"]["vae"].update(perceptual=0.1))
    assert main(["plan"]) == 2
    said = capsys.readouterr().err
    edit(lambda data: data["base"]["vae"].update(perceptual=0.0))
    for key in ("scores.extractors", "base.vae.perceptual"):
        assert said.count(f"{key}: lite0 needs the package not-here-at-all") == 1, said


@pytest.mark.heavy
def test_everything_that_is_missing_is_told_at_once_after_the_plan(ask, tmp_path, capsys):
    kept = Path("params.yaml").read_text()
    archive = {"name": "a.zip", "url": ""}

    def spoil(data):
        data["downloads"] = {"d": {"page": "here", "licence": "terms", "archives": [archive]}}
        row = {"kind": "folder", "size_px": 32, "prompt": "p", "splits": {"train": 0.5, "test": 0.5}}
        data["datasets"] |= {"mine": {**row, "path": "nowhere"}, "fetched": {**row, "path": "data/raw/d"}}
        data["base"] = {"kind": "diffusers", "model": "/nonesuch/model"}
        data["generators"]["siamese"]["weights"] = "nonesuch.ckpt"
        data["scores"]["extractors"] = ["inception"]
        data["baselines"]["theirs"] = {"kind": "imported", "path": "data/imported/theirs"}
        data["comparison"]["baselines"].append("theirs")
        data["judge"] = {**data["judge"], "encoder_file": "encoder.pth"}

    edit(spoil)
    assert main(["plan"]) == 2
    said = capsys.readouterr()
    Path("params.yaml").write_text(kept)
    assert "stages" in said.out
    for line in (
        "downloads.d: read its terms (terms; here) and set accept_licence: true",
        "downloads.d: put a.zip from here into data/downloads/d/",
        "datasets.mine.path: nowhere does not exist",
        "base.model: there is no folder /nonesuch/model",
        "baselines.theirs.path: data/imported/theirs does not exist",
        "generators.siamese.weights: nonesuch.ckpt does not exist",
        "judge.encoder_file: encoder.pth does not exist",
        "scores.extractors: inception is missing",
    ):
        assert said.err.count(line) == 1, said.err
    assert "datasets.fetched" not in said.err, "the download makes it"
    assert "Traceback" not in said.err


@pytest.mark.heavy
def test_the_package_of_an_encoder_is_missing_where_it_is_not_installed(ask, monkeypatch, capsys):
    kept = Path("params.yaml").read_text()
    edit(lambda data: data["architectures"]["unet"].update(encoder="lite0"))
    try:
        assert main(["plan"]) == 0
        monkeypatch.setattr(lite0, "PACKAGE", "not-here-at-all")
        assert main(["plan"]) == 2
    finally:
        Path("params.yaml").write_text(kept)
    said = capsys.readouterr().err
    assert said.count("architectures.unet.encoder: lite0 needs the package not-here-at-all") == 1, said
    assert "pip install not-here-at-all" in said


def test_a_wrong_file_stops_before_dvc_is_asked(project, capsys):
    assert main(["plan", "--file", "nonesuch.yaml"]) == 2
    assert "nonesuch.yaml: no such file" in capsys.readouterr().err


PAST = [
    Record("train@a-x", "train siamese", 10.0, 1.0, "cpu"),
    Record("train@a-y", "train siamese", 90.0, 1.0, "cpu"),
    Record("train@a-z", "train siamese", 5.0, 1.0, "a GPU"),
    Record("score@a", "score", 7.0, 1.0, None),
]


def test_an_estimate_is_the_own_last_time_or_the_last_of_the_kind_on_the_device():
    assert last_of_its_kind("train@a-x", "train siamese", PAST, "cpu") == PAST[0]
    assert last_of_its_kind("train@b", "train siamese", PAST, "cpu") == PAST[1]
    assert last_of_its_kind("train@a-x", "train siamese", PAST, "a GPU") == PAST[2]
    assert last_of_its_kind("train@b", "train siamese", PAST, "another GPU") is None
    assert last_of_its_kind("train@a-x", "train controlnet", PAST, "cpu") is None
    assert last_of_its_kind("score@b", "score", PAST, "a GPU") == PAST[3]


def test_the_last_record_is_that_of_the_stage_that_ended_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    for number, name in enumerate(("masks@b", "masks@a", "masks@c")):
        monkeypatch.setenv("DVC_STAGE", name)
        record("masks", {"dataset": "phantom", "masks": "random"}, float(number))
        os.utime(FOLDER / f"{name}.json", (number, number))
    assert [row.stage for row in read_records()] == ["masks@b", "masks@a", "masks@c"]
    assert {row.kind for row in read_records()} == {"masks at 64 px"}
    assert last_of_its_kind("masks@d", "masks at 64 px", read_records(), "cpu").seconds == 2.0


@pytest.mark.heavy
def test_every_stage_of_every_preset_has_a_kind(project):
    for preset in (Path("params.yaml"), *map(Path, ("ablations", "toy-table1", "toy-table3", "toy-figure7"))):
        params = read_params(preset)
        for stage in plan_stages(preset):
            assert kind_of(stage.verb, stage.item, params).split(" ")[0] == stage.verb


def test_a_kind_is_what_runs_and_how_large():
    params = read_params(ROOT / "params.yaml")
    run = {"dataset": "phantom", "source": "real", "masks": "real", "architecture": "unet", "seed": 0, "multiple": 1}
    unet = kind_of("segment", run, params)
    assert unet == "segment unet tu-test_resnet [{}, [32, 16, 16], 64] x1 at 64 px"
    assert kind_of("segment", {**run, "seed": 1, "source": "siamese"}, params) == unet
    assert kind_of("segment", {**run, "multiple": 2}, params) != unet
    item = {"dataset": "phantom", "generator": "siamese", "masks": "random"}
    assert kind_of("train", item, params).startswith("train siamese ")
    assert kind_of("train", item, params) != kind_of("train", {**item, "generator": "controlnet"}, params)
    assert kind_of("features", {**run, "extractor": "lite0"}, params) == "features lite0 at 64 px"


@given(st.lists(st.tuples(st.floats(0, 100), st.sets(st.integers(0, 9)), st.booleans()), max_size=10))
def test_no_chain_is_longer_than_all_or_shorter_than_any(drawn):
    rows = []
    for number, (seconds, needs, runs) in enumerate(drawn):
        names = {str(need) for need in needs if need < number}
        stage = Planned(str(number), "train", {}, "to run" if runs else "cached", names, None)
        rows.append(Row(stage, Record("x", "train", seconds, 1.0, None), None))
    times = [seconds for seconds, _, runs in drawn if runs]
    assert max(times, default=0) <= longest_chain(rows) <= sum(times) + 1e-9
