"""A result says with which settings it was made: those of every stage that it comes from, as dvc.lock has them."""

import json
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml

from pipeline.record.settings import fingerprint, fingerprints, made_with

LONG = "-".join(letter * 39 for letter in "abcd")  # a key of its own kind in YAML
GRAPH = """
stages:
  prepare:
    foreach: ${datasets}
    do: {cmd: x, deps: ["${item.path}", code], params: ["datasets.${key}"], outs: ["data/processed/${key}"]}
  features:
    matrix: {dataset: "${comparison.datasets}", extractor: [one, two]}
    cmd: x
    deps: ["data/processed/${item.dataset}/train", code]
    params: [features]
    outs: ["outputs/features/${item.dataset}/${item.extractor}"]
  sample:
    matrix: {dataset: "${comparison.datasets}"}
    cmd: x
    deps: ["data/processed/${item.dataset}/train"]
    params: [sampling, comparison.multiples]
    outs: ["outputs/samples/${item.dataset}/x1"]
  sample_other:
    matrix: {dataset: "${volume.datasets}"}
    cmd: x
    deps: ["data/processed/${item.dataset}/train"]
    params: [sampling]
    outs: ["outputs/samples/${item.dataset}/x1"]
  score:
    matrix: {dataset: "${comparison.datasets}"}
    cmd: x
    deps: ["outputs/features/${item.dataset}", code]
    params: [scores]
    outs: ["outputs/scored/${item.dataset}"]
  segment:
    matrix: {dataset: "${comparison.datasets}"}
    cmd: x
    deps: ["data/processed/${item.dataset}", "outputs/samples/${item.dataset}/x1"]
    params: [architectures.unet]
    outs: ["outputs/segmenters/${item.dataset}"]
"""
PARAMS = {
    "comparison": {"datasets": ["d", LONG], "multiples": [1]},
    "volume": {"datasets": []},
    "datasets": {"d": {"path": "in"}, LONG: {"path": "data/raw/in"}},
    "features": {"batch": 2},
    "sampling": {"steps": 8, "guidance": 1.0e-5},
    "scores": {"extractors": ["one", "two"]},
    "architectures": {"unet": {"epochs": 3}},
}


def entry(out: str, deps=("code",), **params) -> dict:
    """Return what DVC records of a stage."""
    return {
        "cmd": "x",
        "deps": [{"path": path, "hash": "md5", "md5": "0" * 32, "size": 3} for path in deps],
        "params": {"params.yaml": params},
        "outs": [{"path": out, "hash": "md5", "md5": "1" * 32, "size": 3}],
    }


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """Stand in a folder with a dvc.lock of all stages, and return what writes one with changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIAMESE_PARAMS", raising=False)
    monkeypatch.setenv("DVC_STAGE", "segment@d")
    Path("dvc.yaml").write_text(GRAPH)
    Path("params.yaml").write_text(json.dumps(PARAMS))
    stages = {}
    for name in ("d", LONG):
        train = (f"data/processed/{name}/train",)
        row = {f"datasets.{name}": PARAMS["datasets"][name]}
        stages[f"prepare@{name}"] = entry(f"data/processed/{name}", **row)
        for extractor in ("one", "two"):
            out = f"outputs/features/{name}/{extractor}"
            stages[f"features@{name}-{extractor}"] = entry(out, train, features=PARAMS["features"])
        recorded = {"sampling": PARAMS["sampling"], "comparison.multiples": [1]}
        stages[f"sample@{name}"] = entry(f"outputs/samples/{name}/x1", train, **recorded)

    def write(**changes) -> None:
        copied = json.loads(json.dumps(stages | changes))  # DVC has no values in common between stages
        Path("dvc.lock").write_text(dumps_yaml({"schema": "2.0", "stages": copied}))

    write()
    return write


def prints(*keys: str) -> dict[str, str]:
    return {key: fingerprints(PARAMS)[key] for key in sorted(keys)}


def test_settings_are_those_of_all_stages_before(lock, monkeypatch):
    wanted = prints("architectures.unet", "datasets.d", "sampling")  # which sets are made is no setting of a result
    assert made_with(["architectures.unet"]) == {"settings": wanted}
    monkeypatch.setenv("DVC_STAGE", "score@d")  # a folder of two outputs
    assert made_with(["scores"]) == {"settings": prints("scores", "features", "datasets.d")}
    monkeypatch.setenv("DVC_STAGE", f"segment@{LONG}")
    assert made_with(["architectures.unet"])["settings"].keys() == {
        "architectures.unet",
        f"datasets.{LONG}",
        "sampling",
    }


def test_what_was_recorded_counts_and_not_what_params_say_now(lock):
    Path("params.yaml").write_text(json.dumps(PARAMS | {"sampling": {"steps": 9}}))
    assert made_with(["architectures.unet"])["settings"]["sampling"] == fingerprint(PARAMS["sampling"])
    Path("params.yaml").write_text(json.dumps(PARAMS | {"architectures": {"unet": {"epochs": 4}}}))
    assert made_with(["architectures.unet"])["settings"]["architectures.unet"] == fingerprint({"epochs": 4})


def test_the_params_that_dvc_started_the_stage_with_count(lock, monkeypatch):
    monkeypatch.setenv("SIAMESE_PARAMS", json.dumps(PARAMS | {"architectures": {"unet": {"epochs": 5}}}))
    assert made_with(["architectures.unet"])["settings"]["architectures.unet"] == fingerprint({"epochs": 5})


def test_an_entry_of_a_stage_that_is_gone_does_not_count(lock):
    old = entry("outputs/samples/d/x1", ("data/processed/d/train",), sampling={"steps": 1})
    lock(**{"sample_other@d": old, "dropped@d": old})
    assert made_with(["architectures.unet"]) == {"settings": prints("architectures.unet", "datasets.d", "sampling")}


def test_without_a_record_there_are_no_settings_and_a_reason(lock, monkeypatch):
    lock(**{"sample@d": entry("outputs/elsewhere", sampling={})})
    reason = "dvc.lock has no stage that made outputs/samples/d/x1"
    assert made_with([]) == {"settings": None, "settings_reason": reason}
    monkeypatch.delenv("DVC_STAGE")
    assert made_with(["architectures.unet"]) == {"settings": None, "settings_reason": "not run by DVC"}


def test_fingerprints_are_of_values_and_not_of_their_layout():
    assert fingerprint({"a": 1, "b": [1.0e-5]}) == fingerprint({"b": [0.00001], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprints({"base": {"kind": "x"}, "seeds": [0]}).keys() == {"base", "base.kind", "seeds"}
