"""nnU-Net's dataset.json: every label is read as what it is, or the data set is refused with the reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.layouts.nnunet_labels import read_nnunet_labels
from data.pairs.errors import UserError
from tests.data.pairs import encodings as e
from tests.data.prepare.test_mask_meaning import prepared, share


def nnunet(root: Path, encode, labels=None, ending: str = ".png") -> Path:
    for number in range(e.PAIRS):
        for folder, picture, name in (
            ("imagesTr", Image.fromarray(e.noise(number)), f"CASE{number}_0000.png"),
            ("labelsTr", encode(e.lesion(number), number), f"CASE{number}{ending}"),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            picture.save(root / folder / name)
    if labels is not None:
        (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    return root


def ringed(*values: int):
    """Return an encoding with the first value in the lesion, and rings of the others about it."""

    def encode(mask, _):
        rows, columns = np.nonzero(mask)
        ys, xs = np.mgrid[: e.SIZE, : e.SIZE]
        away = np.hypot(ys - rows.mean(), xs - columns.mean())
        labels = np.zeros_like(mask)
        for number in reversed(range(1, len(values))):
            labels[away < 14 + 5 * number] = values[number]
        return Image.fromarray(np.where(mask, values[0], labels).astype(np.uint8))

    return encode


def classes_of(row) -> dict:
    return {key: row[key] for key in ("classes", "as_background", "mask_threshold") if key in row}


@pytest.mark.parametrize(
    ("labels", "values", "keys"),
    [
        ({"background": 0, "lesion": 1}, (1,), {"mask_threshold": 0}),
        ({"lesion": 1}, (1,), {"mask_threshold": 0}),
        ({"background": "0", "lesion": "1"}, (1,), {"mask_threshold": 0}),
        ({"0": "background", "1": "lesion"}, (1,), {"mask_threshold": 0}),
        ({"background": 0, "lesion": 3}, (3,), {"mask_threshold": 0}),
        ({"background": 0, "lesion": 1, "ignore": 2}, (1, 2), {"classes": {"lesion": 1}, "as_background": [2]}),
        ({"0": "background", "1": "lesion", "2": "ignore"}, (1, 2), {"classes": {"lesion": 1}, "as_background": [2]}),
        ({"background": 0, "lesion": 1}, (255,), {}),
        (None, (1,), {"mask_threshold": 0}),
        (None, (255,), {"mask_threshold": 0}),
    ],
)
def test_one_class_is_read(labels, values, keys, tmp_path):
    result, _ = examine(nnunet(tmp_path / "raw", ringed(*values), labels))
    assert (result["stops"], classes_of(result["row"])) == ([], keys)
    assert share(prepared(result["row"], tmp_path / "out")) == pytest.approx(e.truth(), abs=1e-4)


def test_ignored_pixels_never_become_lesion(tmp_path):
    labels = {"background": 0, "lesion": 1, "ignore": 2}
    row = examine(nnunet(tmp_path / "raw", ringed(1, 2), labels))[0]["row"]
    kept = {key: value for key, value in row.items() if key not in ("classes", "as_background")}
    for keys in ({"mask_threshold": 0}, {"classes": {"lesion": 1, "ignore": 2}}, {"classes": {"lesion": 1}}):
        with pytest.raises(UserError, match=r"holds \[2\], which dataset.json calls ignore.* as_background: \[2\]"):
            prepared(kept | keys, tmp_path / "out")
    cut = prepared(kept | {"mask_threshold": 0, "as_background": [2]}, tmp_path / "out")
    assert share(cut) == pytest.approx(e.truth(), abs=1e-4)


def test_regions_are_taken_apart_and_none_is_dropped(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    result, _ = examine(nnunet(tmp_path / "raw", ringed(2, 1, 3), labels))
    assert classes_of(result["row"]) == {"classes": {"whole": 1, "core": 2}, "as_background": [3]}
    assert any("whole of dataset.json is whole and core" in note for note in result["notes"])
    sets = prepared(result["row"], tmp_path / "out")
    core = np.mean([(pairs.labels(pair) == 2).mean() for pairs in sets.values() for pair in pairs.pairs])
    assert core == pytest.approx(e.truth(), abs=1e-4)
    assert share(sets) > core


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "a": [1, 2, 3], "b": [2, 3]}, {"a": 1, "b-2": 2, "b-3": 3}),
        ({"background": 0, "a*": 1, "a?": 2}, {"a-1": 1, "a-2": 2}),
        ({"Background": 0, "a": 1, "Ignore": 2}, {"a": 1}),
    ],
)
def test_names_of_labels_stay_apart(labels, classes, tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    said = read_nnunet_labels(tmp_path / "dataset.json")
    assert (said.classes, said.problems) == (classes, ())


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 1, "lesion": 0},
        {"background": 0, "lesion": 0},
        {"background": 0, "lesion": 1, "ignore": 1},
        {"background": 0, "lesion": "one"},
        {"background": 0, "lesion": 1.5},
        {"background": 0, "lesion": []},
        {"0": "background", "1": "a", "2": "a"},
        ["background", "lesion"],
    ],
)
def test_labels_that_cannot_be_used_stop(labels, tmp_path):
    root = nnunet(tmp_path / "raw", ringed(1), labels)
    result, _ = examine(root)
    assert "bad_labels" in [fault["code"] for fault in result["faults"]]
    assert result["stops"]
    row = {
        "kind": "folder",
        "path": str(root),
        "prompt": "",
        "splits": {"train": 0.5, "test": 0.5},
        "mask_threshold": 0,
    }
    with pytest.raises(UserError, match="its `labels`"):
        prepared(row, tmp_path / "out")


@pytest.mark.parametrize(
    ("encode", "ending", "labels", "expected"),
    [
        (e.interpolated, ".png", {"background": 0, "lesion": 1}, {}),
        (e.interpolated, ".png", None, {}),
        (e.grey(255), ".jpg", {"background": 0, "lesion": 1}, {}),
        (e.grey(255), ".jpg", None, {}),
        (e.interpolated, ".png", {"background": 0, "lesion": 1, "other": 2}, None),
        (e.grey(1), ".jpg", None, None),
        (ringed(1, 7), ".png", {"background": 0, "lesion": 1}, None),
    ],
)
def test_labels_that_were_smoothed_or_are_not_named_are_cut_in_the_middle_or_refused(
    encode, ending, labels, expected, tmp_path
):
    root = nnunet(tmp_path / "raw", encode, labels, ending)
    row = examine(root)[0]["row"]
    assert (None if row is None else classes_of(row)) == expected
    if row:
        assert share(prepared(row, tmp_path / "out")) == pytest.approx(e.truth(), abs=0.003)
    plain = {"kind": "folder", "path": str(root), "prompt": "", "splits": {"train": 0.5, "test": 0.5}}
    with pytest.raises(UserError, match=r"grey at its edges|in a JPEG|does not name"):
        prepared(plain | {"mask_threshold": 0}, tmp_path / "two")
