"""Preparing with proportions kept, several classes, folds, slices, sequences and tables of groups."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from data.doctor.doctor import examine
from data.exports.verify import verify
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import levels, read_labels, write_mask
from data.pairs.manifest import content, content_box
from data.pairs.prepared import Prepared
from data.pairs.resize import letterbox
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.inputs import load_pairs
from tests.data.layouts import trees


def row(path, **changes) -> FolderDataset:
    base = {"kind": "folder", "path": str(path), "size_px": 64, "prompt": "p"}
    if "folds" not in changes:
        base["splits"] = {"train": 0.5, "test": 0.5}
    return FolderDataset(**{**base, **changes})


def save(image, mask, pixels, labels) -> None:
    for path, array in ((image, pixels), (mask, labels)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


@pytest.fixture
def many(tmp_path):
    for number in range(12):
        trees.save(tmp_path / f"raw/images/{number:02d}.png", tmp_path / f"raw/masks/{number:02d}.png")
    return tmp_path / "raw"


# letterbox -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 300), st.integers(5, 300), st.booleans())
def test_a_letterbox_keeps_proportions_and_pads_with_black(height, width, antialias):
    image, mask = np.full((height, width, 3), 200, np.uint8), np.ones((height, width), np.uint8)
    framed, framed_mask, box = letterbox(image, mask, 64, antialias=antialias)
    left, top, inner_w, inner_h = map(int, box.split()) if box else (0, 0, 64, 64)
    assert max(inner_w, inner_h) == 64
    assert abs(inner_w / 64 - width / max(height, width)) <= 0.5 / 64 + 1 / 64
    assert abs(inner_h / 64 - height / max(height, width)) <= 0.5 / 64 + 1 / 64
    assert abs(left - (64 - inner_w - left)) <= 1
    assert abs(top - (64 - inner_h - top)) <= 1
    assert framed.sum() == 200 * 3 * inner_w * inner_h
    assert framed_mask.sum() == inner_w * inner_h


def test_the_padding_of_a_letterbox_is_cut_off_before_segmentation(tmp_path):
    for number in range(4):
        pixels, lesion = trees.draw(str(number))
        wide = np.concatenate([pixels, pixels[:, ::-1]], 1)
        save(tmp_path / f"raw/images/{number}.png", tmp_path / f"raw/masks/{number}.png", wide,
             np.concatenate([lesion, lesion[:, ::-1]], 1) * np.uint8(255))  # fmt: skip
    sets = prepare(row(tmp_path / "raw", fit="letterbox"), tmp_path / "boxed")
    whole = prepare(row(tmp_path / "raw"), tmp_path / "stretched")
    pair = sets["train"].pairs[0]
    assert (content_box(pair), pair.native) == ((0, 16, 64, 32), "128x64")
    assert content(pair, sets["train"].image(pair)).shape == (32, 64, 3)
    assert not sets["train"].mask(pair)[:16].any()
    assert content_box(whole["train"].pairs[0]) is None
    network = ArchitectureRow(
        network="plain_unet", input_px=64, epochs=1, batch=2, lr=1.0, weight_decay=0.0, schedule="constant",
        loss="ce_dice", budget="equal_epochs",
    )  # fmt: skip
    boxed, flat = load_pairs(sets["train"], network), load_pairs(whole["train"], network)
    assert np.abs(boxed.images.astype(int) - flat.images.astype(int)).mean() < 8  # no black bars are left
    assert (boxed.masks != flat.masks).mean() < 0.03
    verify(sets["train"])


def test_test_sets_can_be_kept_at_their_own_sizes(tmp_path):
    for number in range(6):
        pixels, lesion = trees.draw(str(number))
        save(tmp_path / f"raw/images/{number}.png", tmp_path / f"raw/masks/{number}.png", pixels[:48],
             lesion[:48] * np.uint8(255))  # fmt: skip
    sets = prepare(row(tmp_path / "raw", native_tests=True, fit="letterbox", size_px=32), tmp_path / "out")
    tested = Prepared(tmp_path / "out").tests()
    assert list(tested) == ["test"]
    assert [pair.id for pair in tested["test"].pairs] == [pair.id for pair in sets["test"].pairs]
    for pair in tested["test"].pairs:
        assert np.array_equal(tested["test"].image(pair), trees.draw(pair.id)[0][:48])
        assert np.array_equal(tested["test"].mask(pair), trees.draw(pair.id)[1][:48])
        assert pair.box == ""
    verify(tested["test"])
    assert not (tmp_path / "out/native/train").exists()
    prepare(row(tmp_path / "raw", size_px=32), tmp_path / "two")
    assert Prepared(tmp_path / "two").tests()["test"].folder == tmp_path / "two/test"
    with pytest.raises(ValidationError, match="native"):
        row("x", splits={"train": "train", "native": "test"})


# classes -------------------------------------------------------------------------------------------------------------


def labels_of(number) -> np.ndarray:
    labels = trees.draw(str(number))[1]
    labels[2:6, 2 : 8 + number] = 2
    return labels


CODES = {
    "numbers": ({"polyp": 1, "tool": 2}, np.array([0, 1, 2], np.uint8)),
    "greys": ({"polyp": 255, "tool": 128}, np.array([0, 255, 128], np.uint8)),
    "colours": (
        {"polyp": (255, 0, 0), "tool": (0, 255, 0)},
        np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8),
    ),
}


@pytest.mark.parametrize("code", CODES)
def test_classes_are_kept_apart_whatever_their_values_are(code, tmp_path):
    classes, values = CODES[code]
    for number in range(4):
        image, mask = tmp_path / f"raw/images/{number}.png", tmp_path / f"raw/masks/{number}.png"
        save(image, mask, trees.draw(str(number))[0], values[labels_of(number)])
    sets = prepare(row(tmp_path / "raw", classes=classes), tmp_path / "out")
    for pairs in sets.values():
        for pair in pairs.pairs:
            assert pair.classes == "polyp|tool"
            assert np.array_equal(pairs.labels(pair), labels_of(int(pair.id)))
            assert np.array_equal(pairs.mask(pair), labels_of(int(pair.id)) > 0)
            assert pair.foreground == pytest.approx((labels_of(int(pair.id)) > 0).mean(), abs=1e-6)
    with pytest.raises(UserError, match=r"pixels of no class, such as .*: name their values in `classes`"):
        prepare(row(tmp_path / "raw", classes={"polyp": classes["polyp"]}), tmp_path / "two")


@pytest.mark.parametrize("classes", [{"a": 0}, {"a": 1, "b": 1}, {"a": 7, "b": (7, 7, 7)}, {"a|b": 1}, {"a": 300}])
def test_classes_that_cannot_be_told_apart_are_refused(classes):
    with pytest.raises(ValidationError):
        row("x", classes=classes)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 32), st.integers(0, 99))
def test_prepared_labels_survive_the_disk(tmp_path_factory, classes, seed):
    path = tmp_path_factory.mktemp("labels") / "m.png"
    labels = np.random.default_rng(seed).integers(0, classes + 1, (9, 7), np.uint8)
    write_mask(path, labels, classes)
    assert np.array_equal(read_labels(path, classes), labels)
    assert (levels(classes)[0], levels(classes)[-1]) == (0, 255)
    if classes > 2 and (labels == 1).any():
        with pytest.raises(ValueError, match="is no mask of 1 classes"):
            read_labels(path)


def test_nnunet_gives_its_classes_and_channels_to_the_row(tmp_path):
    for number in range(4):
        pixels = trees.draw(str(number))[0]
        for channel in range(3):
            save(tmp_path / f"imagesTr/C{number}_{channel:04d}.png", tmp_path / f"labelsTr/C{number}.png",
                 pixels[..., channel], labels_of(number))  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "polyp": 1, "tool": 2}}))
    result, _ = examine(tmp_path)
    assert (result["layout"], result["pairs"], result["row"]["classes"]) == ("nnunet", 4, {"polyp": 1, "tool": 2})
    sets = prepare(FolderDataset(**{**result["row"], "size_px": 64}), tmp_path / "out")
    for pairs in sets.values():
        for pair in pairs.pairs:
            assert np.array_equal(pairs.image(pair), trees.draw(pair.id[1:])[0])
            assert np.array_equal(pairs.labels(pair), labels_of(int(pair.id[1:])))
    (tmp_path / "imagesTr/C0_0002.png").unlink()
    assert "C0_0000.png: has 2 channel files" in examine(tmp_path)[0]["faults"][0]["files"][0]


def test_masks_of_class_numbers_get_a_row_that_keeps_them_apart(tmp_path):
    for number in range(3):
        image, mask = tmp_path / f"raw/images/{number}.png", tmp_path / f"raw/masks/{number}.png"
        save(image, mask, trees.draw(str(number))[0], labels_of(number))
    assert examine(tmp_path / "raw")[0]["row"]["classes"] == {"class-1": 1, "class-2": 2}


# splits --------------------------------------------------------------------------------------------------------------


def test_folds_test_every_pair_once(many, tmp_path):
    tested: Counter[str] = Counter()
    for number in range(3):
        folds = {"count": 3, "test": number, "val": (number + 1) % 3}
        sets = prepare(row(many, folds=folds, expect={"test": 4}), tmp_path / str(number))
        tested.update(pair.id for pair in sets["test"].pairs)
        ids = [pair.id for pairs in sets.values() for pair in pairs.pairs]
        assert len(ids) == len(set(ids)) == 12
        if number == 0:
            assert set(sets) == {"train", "val", "test"}
    assert tested == {f"{number:02d}": 1 for number in range(12)}


def test_folds_keep_groups_together(tmp_path):
    for video in range(5):
        for frame in range(video + 1):
            trees.save(tmp_path / f"raw/images/v{video}_{frame}.png", tmp_path / f"raw/masks/v{video}_{frame}.png")
    sizes = []
    for number in range(3):
        dealt = row(tmp_path / "raw", folds={"count": 3, "test": number}, group=r"^(v\d)")
        sets = prepare(dealt, tmp_path / str(number))
        homes = {split: {pair.group for pair in pairs.pairs} for split, pairs in sets.items()}
        assert homes["train"] & homes["test"] == set()
        sizes.append(len(sets["test"]))
    assert sizes == [5, 5, 5]


@pytest.mark.parametrize(
    "folds", [{"count": 1, "test": 0}, {"count": 3, "test": 3}, {"count": 3, "test": 1, "val": 1}, {"count": 3}]
)
def test_folds_that_cannot_be_are_refused(folds):
    with pytest.raises(ValidationError):
        row("x", folds=folds)


def test_a_row_needs_splits_or_folds_and_not_both():
    with pytest.raises(ValidationError, match="either splits or folds"):
        row("x", splits={})
    with pytest.raises(ValidationError, match="either splits or folds"):
        row("x", folds={"count": 3, "test": 0}, splits={"train": 0.5, "test": 0.5})


def test_slices_follow_the_order_of_the_ids(tmp_path):
    trees.folders(tmp_path / "raw")
    splits = {"train": "train[:3]", "val": "train[3:]", "test": "test[1:2]"}
    sets = prepare(row(tmp_path / "raw", splits=splits), tmp_path / "out")
    ids = {split: [pair.id for pair in pairs.pairs] for split, pairs in sets.items()}
    assert ids == {"train": ["train0", "train1", "train2"], "val": ["train3"], "test": ["test1"]}


def test_a_table_says_what_belongs_together(many, tmp_path):
    lines = [f"{number:02d}.png,patient{number // 4}" for number in range(12)]
    (many / "patients.csv").write_text("\n".join(["id,patient", *lines]))
    splits = {"train": 0.67, "test": 0.33}
    sets = prepare(row(many, group="patients.csv", splits=splits), tmp_path / "out")
    homes = {split: {pair.group for pair in pairs.pairs} for split, pairs in sets.items()}
    assert (len(homes["train"]), len(homes["test"]), homes["train"] & homes["test"]) == (2, 1, set())
    (many / "patients.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match=r"patients.csv: names no group for 11"):
        prepare(row(many, group="patients.csv"), tmp_path / "two")
    with pytest.raises(UserError, match=r"nonesuch.csv: no such file"):
        prepare(row(many, group="nonesuch.csv"), tmp_path / "three")


def video(root, name: str, frames: int) -> None:
    pixels, lesion = trees.draw(name)
    for number in range(frames):
        moved = np.clip(np.roll(pixels, number, 1).astype(int) + number, 0, 255).astype(np.uint8)
        save(root / f"images/{name}{number:03d}.png", root / f"masks/{name}{number:03d}.png", moved,
             np.roll(lesion, number, 1) * np.uint8(255))  # fmt: skip


def test_frames_of_a_video_are_found_and_stay_in_one_split(tmp_path):
    for name in ("a", "b", "c", "d"):
        video(tmp_path / "raw", name, 5)
    together = row(tmp_path / "raw", sequence_likeness=0.9, allow_duplicates=("*",))
    for seed in range(3):
        sets = prepare(together.model_copy(update={"seed": seed}), tmp_path / str(seed))
        homes = {split: {pair.id[0] for pair in pairs.pairs} for split, pairs in sets.items()}
        assert homes["train"] & homes["test"] == set()
        assert {pair.group for pair in sets["train"].pairs} == {f"images-{name}000" for name in homes["train"]}
    apart = prepare(row(tmp_path / "raw", allow_duplicates=("*",)), tmp_path / "apart")
    assert {p.id[0] for p in apart["train"].pairs} & {p.id[0] for p in apart["test"].pairs}
    with pytest.raises(ValidationError, match="give one"):
        row("x", group="a", sequence_likeness=0.9)


def test_duplicates_that_are_allowed_are_written_down(tmp_path):
    trees.folders(tmp_path / "raw")
    (tmp_path / "raw/test/images/test1.jpg").write_bytes((tmp_path / "raw/train/images/train0.jpg").read_bytes())
    splits = {"train": "train", "test": "test"}
    prepare(row(tmp_path / "raw", splits=splits, allow_duplicates=("*",)), tmp_path / "out")
    assert "train/train0 and test/test1" in (tmp_path / "out/allowed_duplicates.txt").read_text()


def test_one_thread_and_several_write_the_same_bytes(many, tmp_path, monkeypatch):
    prepare(row(many), tmp_path / "several")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0})
    prepare(row(many), tmp_path / "one")
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "several")
