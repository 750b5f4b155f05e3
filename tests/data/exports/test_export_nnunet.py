"""nnU-Net export: the published rules hold, each rule can fail, and no fold validates on what it was trained from."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.exports.formats import Options, export
from data.layouts.layouts import find
from data.pairs.errors import UserError
from tests.data.exports.export_sets import by_hand, grouped, labels_of, phantom, real_row
from tests.data.exports.nnunet_rules import Case, broken_rules

OPTIONS = Options(name="kvasir-seg 2", dataset_id=42, folds=4)
FOLDER = "Dataset042_KvasirSeg2"
GROUPS = {"10": "a", "11": "a", "12": "a", "13": "b", "14": "b", "15": "c", "16": "", "17": ""}


def known_cases():
    """Return what the set of `grouped` holds: its real ids 10 and 11 are in a test set too, 17 shows a lesion of 13."""
    cases = {}
    for name, group in GROUPS.items():
        home = group or name
        cases[f"train-{name}" if name in ("10", "11") else name] = Case(home)
        cases[f"{name}-random-1"] = Case("", (home, "b") if name == "17" else (home,))
        cases[f"{name}-copy"] = Case("", (home,))
    return cases


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return grouped(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def folder(sets, tmp_path):
    export("nnunet", *sets, tmp_path / "out", OPTIONS)
    return tmp_path / "out" / FOLDER


def edit(folder, name, change):
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))


def mode(path, kind):
    Image.open(path).convert(kind).save(path)


def brighten(path):
    Image.fromarray(np.asarray(Image.open(path)) * np.uint8(127)).save(path)


def move(fold, name, source, target):
    fold[source].remove(name)
    fold[target].append(name)


def fold_of(splits, name):
    return next(fold for fold in splits if name in fold["val"])


SPLITS, ABOUT = "splits_final.json", "dataset.json"
MUTATIONS = {
    "dataset.json": lambda d: edit(d, ABOUT, lambda v: v.update(file_ending=".jpg")),
    "consecutive": lambda d: edit(d, ABOUT, lambda v: v["labels"].update(polyp=255)),
    "numTraining": lambda d: edit(d, ABOUT, lambda v: v.update(numTraining=8)),
    "pattern": lambda d: (d / "imagesTr/12_0000.png").rename(d / "imagesTr/12.png"),
    "labelled": lambda d: (d / "labelsTr/12.png").unlink(),
    "shape": lambda d: mode(d / "labelsTr/12.png", "RGB"),
    "values": lambda d: brighten(d / "labelsTr/12.png"),
    "disjoint": lambda d: edit(d, SPLITS, lambda v: v.append(v[0])),
    "complete": lambda d: edit(d, SPLITS, lambda v: v.pop()),
    "cases": lambda d: edit(d, SPLITS, lambda v: v[0]["train"].append("e-1")),
    "val is real": lambda d: edit(d, SPLITS, lambda v: move(v[0], v[0]["train"][-1], "train", "val")),
    "groups": lambda d: edit(d, SPLITS, lambda v: move(fold_of(v, "12"), "12", "val", "train")),
    "leak": lambda d: edit(d, SPLITS, lambda v: fold_of(v, "13")["train"].append("17-random-1")),
    "rest": lambda d: edit(d, SPLITS, lambda v: v[0]["train"].pop()),
}


def test_the_rules_hold(folder):
    assert broken_rules(folder, known_cases()) == set()


@pytest.mark.parametrize("rule", MUTATIONS)
def test_each_rule_can_fail(rule, folder):
    MUTATIONS[rule](folder)
    assert rule in broken_rules(folder, known_cases())


@pytest.mark.parametrize("name", ["Dataset007_X", "Dataset042_Kvasir-Seg", "Dataset42_X"])
def test_the_rule_of_the_folder_can_fail(name, folder):
    shutil.move(folder, folder.parent / name)
    assert "folder" in broken_rules(folder.parent / name, known_cases())


def test_labels_are_those_of_the_masks_and_test_sets_keep_their_names(folder):
    assert json.loads((folder / ABOUT).read_text())["labels"] == {"background": 0, "polyp": 1, "instrument": 2}
    assert np.array_equal(np.asarray(Image.open(folder / "labelsTr/13-random-1.png")), labels_of("13"))
    held = sorted(path.stem for path in (folder / "labelsTs").iterdir())
    assert held == ["cvc-300-10", "cvc-300-11", "etis-20", "etis-e-1", "etis-e-1-2"]
    text = (folder / "README.txt").read_text()
    assert f"Copy splits_final.json to nnUNet_preprocessed/{FOLDER}/" in text
    assert "0 background, 1 polyp, 2 instrument" in text


def test_folds_are_even_seeded_and_grouped(sets, folder, tmp_path):
    splits = json.loads((folder / SPLITS).read_text())
    assert sorted(len(fold["val"]) for fold in splits) == [1, 2, 2, 3]
    export("nnunet", *sets, tmp_path / "other", replace(OPTIONS, seed=1))
    assert json.loads((tmp_path / "other" / FOLDER / SPLITS).read_text()) != splits


def test_a_val_split_is_the_only_fold(sets, tmp_path):
    val = by_hand(tmp_path / "val", "val", [real_row("v1", "c"), real_row("v2")])
    export("nnunet", {**sets[0], "val": val}, sets[1], tmp_path / "out", OPTIONS)
    (fold,) = json.loads((tmp_path / "out" / FOLDER / SPLITS).read_text())
    assert fold["val"] == ["v1", "v2"]
    assert set(fold["train"]) == set(known_cases()) - {"15-random-1", "15-copy"}
    assert json.loads((tmp_path / "out" / FOLDER / ABOUT).read_text())["numTraining"] == 26


def test_one_class_and_one_test_set_are_read_by_our_own_reader(tmp_path):
    real, added = phantom(tmp_path / "in")
    export("nnunet", real, [added], tmp_path / "out", Options(name="phantom"))
    found = find(tmp_path / "out/Dataset501_Phantom", "nnunet")
    assert sorted(source.split for source in found.sources) == ["test"] * 4 + ["train"] * 12
    known = {pair.id: Case(pair.id) for pair in real["train"].pairs}
    known |= {pair.id: Case("", (pair.parent,)) for pair in added.pairs}
    assert broken_rules(tmp_path / "out/Dataset501_Phantom", known) == set()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (replace(OPTIONS, dataset_id=10), "id 10"),
        (replace(OPTIONS, dataset_id=1000), "id 1000"),
        (replace(OPTIONS, name="--"), "name '--'"),
        (replace(OPTIONS, folds=6), "must be 2 to 5"),
        (replace(OPTIONS, folds=1), "must be 2 to 5"),
    ],
)
def test_what_nnunet_cannot_take_is_refused(options, text, sets, tmp_path):
    with pytest.raises(UserError, match=text):
        export("nnunet", *sets, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.iterdir())


def test_a_class_with_a_meaning_of_its_own_is_refused(tmp_path):
    pairs = by_hand(tmp_path / "train", "train", [real_row("1"), real_row("2")])
    named = replace(pairs, pairs=tuple(replace(pair, classes="ignore|polyp") for pair in pairs.pairs))
    with pytest.raises(UserError, match="rename the class"):
        export("nnunet", {"train": named}, [], tmp_path / "out", replace(OPTIONS, folds=2))
