"""The masks stage with given and drawn masks, and what `repro` does for masks that DVC cannot see the source of."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from pipeline.params import paths
from pipeline.params.schema import Params
from pipeline.plan.mask_sources import in_order, outdated, sources
from pipeline.plan.prerequisites import missing
from pipeline.stages import masks
from tests.contracts.imports import ROOT
from tests.data.masks.sets import blobs, write_set

THEIRS = {"kind": "dataset", "dataset": "near", "copies": 2}


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Stand in a project with two prepared data sets, and return a params.yaml of three rows of masks."""
    monkeypatch.chdir(tmp_path)
    write_set(paths.processed("phantom", "train"), {f"p{n}": blobs((20 + n, 20, 6, 4 + n)) for n in range(4)})
    write_set(paths.processed("phantom", "test"), {"t": blobs((30, 30, 9, 9))})
    write_set(paths.processed("near", "train"), {f"n{n}": blobs((12, 20 + n, 5 + n, 4)) for n in range(3)})
    folder = Path("data/imported_masks/mine")
    folder.mkdir(parents=True)
    Image.fromarray(255 * blobs((24, 24, 8, 5))).save(folder / "one.png")
    data = YAML(typ="safe").load(ROOT / "params.yaml")
    data["datasets"]["near"] = {**data["datasets"]["phantom"], "seed": 1}
    data["masks"] |= {
        "theirs": THEIRS,
        "mine": {"kind": "folder", "path": str(folder), "copies": 2},
        "drawn": {"kind": "shapes", "copies": 2, "seed": 0},
    }
    data["comparison"]["masks"] = ["theirs", "mine", "drawn"]
    return Params.model_validate_json(json.dumps(data))


def run(params: Params, name: str) -> dict:
    masks.run({"dataset": "phantom", "masks": name}, SimpleNamespace(row=params.masks[name], judge=params.judge))
    return json.loads((paths.masks("phantom", name) / "counts.json").read_text())


def test_each_kind_makes_as_many_masks_as_there_are_pairs_and_again_for_2x(params):
    for name, given in (("theirs", 3), ("mine", 1), ("drawn", None)):
        counts = run(params, name)
        assert (counts["masks"], counts.get("given")) == (8, given)
        for copy in (1, 2):
            made = read_pairs(paths.masks("phantom", name, copy))
            assert [pair.foreground > 0 for pair in made.pairs] == [True] * 4
            assert {(pair.parent, pair.source) for pair in made.pairs} == {("", name)}
        alone = Path("alone") / name  # as sample_volume writes them for a multiple of its own
        masks.make_masks("phantom", name, params.masks[name].model_copy(update={"copies": 1}), params.judge, alone)
        assert sha256_tree(alone / "1") == sha256_tree(paths.masks("phantom", name, 1))


def test_masks_of_its_test_set_stop_the_stage_and_leave_nothing(params):
    Image.fromarray(255 * blobs((30, 30, 9, 9))).save("data/imported_masks/mine/two.png")
    with pytest.raises(UserError, match=r"two.png is the mask of test/t"):
        run(params, "mine")
    assert not Path("outputs").exists() or not list(Path("outputs").rglob("*.png"))


def test_a_data_set_is_prepared_before_its_masks_are_taken(params):
    names = ("masks@phantom-theirs", "masks@phantom-mine", "sample@phantom-siamese-0-theirs")
    stages = {name: {"prepare@phantom"} for name in (*names, "sample_volume@phantom-siamese-0-theirs-2")}
    stages |= {"prepare@near": set(), "prepare@phantom": set()}
    after = {name for name, needs in in_order(stages, params).items() if "prepare@near" in needs}
    assert after == {"masks@phantom-theirs", "sample_volume@phantom-siamese-0-theirs-2"}
    assert sources(stages, params) == {"prepare@near"}
    assert sources(["masks@phantom-mine", "train@phantom-theirs-0"], params) == set()
    del stages["prepare@near"]
    assert in_order(stages, params) == stages


def test_masks_of_a_data_set_that_has_changed_are_named(params):
    assert list(outdated({}, params)) == []
    run(params, "theirs")
    run(params, "mine")
    assert list(outdated({}, params)) == []
    write_set(paths.processed("near", "train"), {"n0": np.rot90(blobs((12, 20, 5, 4)))})
    [line] = outdated({}, params)
    assert line.startswith("masks.theirs: near has changed since they were made of it")
    assert "dvc repro -f -s masks@phantom-theirs" in line
    assert list(outdated({"masks@phantom-theirs": set()}, params)) == []
    run(params, "theirs")
    assert list(outdated({}, params)) == []


def test_a_folder_that_is_not_there_is_named_before_anything_runs(params):
    assert list(missing("masks", {"masks": "mine"}, params)) == []
    Path("data/imported_masks/mine").rename("elsewhere")
    assert list(missing("sample_volume", {"masks": "mine"}, params)) == [
        "masks.mine.path: data/imported_masks/mine does not exist: put the masks there"
    ]
