"""Masks of a folder and of another data set: read strictly, framed, dealt out to the copies, never those of a test."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from data.exports.verify import verify
from data.masks.config import DatasetMasks, FolderMasks
from data.masks.dataset import dataset_masks
from data.masks.dealt import write_given
from data.masks.folder import folder_masks
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from tests.data.masks.sets import blobs, write_set


@pytest.fixture
def real(tmp_path):
    return write_set(tmp_path / "real", {f"r{number}": blobs((20, 20, 4 + number, 6)) for number in range(5)})


def save(path: Path, values: np.ndarray) -> None:
    """Write a picture as somebody's program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


@pytest.fixture
def drawn(tmp_path):
    """Return a folder of three masks, one in a folder of its own, and what systems leave behind."""
    folder = tmp_path / "drawn"
    for number, name in enumerate(("a.png", "b.png", "more/c.png")):
        save(folder / name, 255 * blobs((12 + 8 * number, 30, 6, 5 + number)))
    (folder / ".DS_Store").write_text("x")
    (folder / "notes.txt").write_text("drawn by hand")
    return folder


def of_folder(folder: Path, real, held_out=None, **keys):
    row = FolderMasks.model_validate({"kind": "folder", "copies": 2, "path": str(folder), **keys})
    return folder_masks(row, "mine", real, held_out or {}), row


def refused(folder: Path, real, held_out=None, **keys) -> list[str]:
    """Return the lines of the error, the folder left out."""
    with pytest.raises(UserError) as caught:
        of_folder(folder, real, held_out, **keys)
    assert caught.value.title == f"masks.mine, {folder}: " + re.sub("^.*?: ", "", caught.value.title)
    return [line.replace(f"{folder}/", "") for line in caught.value.problems]


def test_a_folder_is_dealt_out_to_as_many_masks_as_there_are_pairs(real, drawn, tmp_path):
    given, row = of_folder(drawn, real)
    assert [mask.row.id for mask in given] == ["a", "b", "more-c"]
    counts = write_given(given, len(real), "mine", row, tmp_path / "out")
    assert counts == {"masks": 10, "given": 3, "most_uses": 4, "without_lesion": 0}
    uses = []
    for copy in ("1", "2"):
        masks = read_pairs(tmp_path / "out" / copy)
        verify(masks)
        assert len(masks) == 5
        assert {(pair.parent, pair.group, pair.image, pair.source) for pair in masks.pairs} == {("", "", "", "mine")}
        with (tmp_path / "out" / copy / "provenance.csv").open() as file:
            for line in csv.DictReader(file):
                origin = drawn / Path(line["origin"]).relative_to(drawn)
                pair = next(pair for pair in masks.pairs if pair.id == line["id"])
                assert np.array_equal(masks.mask(pair) * 255, np.asarray(Image.open(origin)))
                uses.append((line["origin"], line["use"]))
    assert len(set(uses)) == 10, "each use has a number of its own"
    assert sorted(
        sum(origin == str(drawn / name) for origin, _ in uses) for name in ("a.png", "b.png", "more/c.png")
    ) == [
        3,
        3,
        4,
    ]
    assert (tmp_path / "out/preview.png").is_file()


def test_more_copies_and_another_seed(real, drawn, tmp_path):
    given, row = of_folder(drawn, real)
    write_given(given, 5, "mine", row, tmp_path / "two")
    write_given(given, 5, "mine", row.model_copy(update={"copies": 3}), tmp_path / "three")
    write_given(given, 5, "mine", row.model_copy(update={"seed": 1}), tmp_path / "other")
    for copy in ("1", "2"):
        assert sha256_tree(tmp_path / "two" / copy) == sha256_tree(tmp_path / "three" / copy)
    assert sha256_tree(tmp_path / "two") != sha256_tree(tmp_path / "other")


def test_a_larger_folder_is_used_once_in_an_order_of_the_seed(real, tmp_path):
    for number in range(12):
        save(tmp_path / f"many/m{number:02d}.png", 255 * blobs((14 + number, 20, 5, 5)))
    given, row = of_folder(tmp_path / "many", real)
    counts = write_given(given, len(real), "mine", row, tmp_path / "out")
    assert counts["most_uses"] == 1
    ids = [pair.id for copy in ("1", "2") for pair in read_pairs(tmp_path / "out" / copy).pairs]
    assert len(set(ids)) == 10
    assert all(name.endswith("-mine-1") for name in ids)
    assert sorted(ids)[:5] != [f"m{number:02d}-mine-1" for number in range(5)]


def test_every_fault_of_every_file_is_named_at_once(real, tmp_path):
    folder, good = tmp_path / "odd", blobs((20, 24, 8, 6))
    rng = np.random.default_rng(0)
    save(folder / "good.png", 255 * good)
    save(folder / "again.bmp", 255 * good)
    save(folder / "zero_one.png", good)
    save(folder / "numbers.png", good * 2)
    save(folder / "soft.png", np.repeat(np.linspace(0, 255, 48)[None], 48, 0))
    save(folder / "photo.png", rng.integers(0, 255, (48, 48, 3)))
    save(folder / "colours.png", good[..., None] * np.array([255, 0, 0]))
    alpha = np.dstack([np.stack([255 * good] * 3, -1), 255 * blobs((30, 10, 6, 6))])
    save(folder / "alpha.png", alpha)
    save(folder / "wide.png", 255 * blobs((20, 20, 5, 5), size_px=64))
    save(folder / "empty.png", good * 0)
    save(folder / "full.png", good * 0 + 255)
    Image.fromarray(good.astype(np.uint16) * 60000).save(folder / "deep.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:60])
    Image.fromarray(255 * good).save(folder / "stack.tif", save_all=True, append_images=[Image.fromarray(255 * good)])
    (folder / "text.png").write_text("no picture")
    (folder / "volume.nii.gz").write_bytes(b"x")
    (folder / "lost.png").symlink_to("nowhere.png")
    found = refused(folder, real)
    named = {line.split(":")[1].split()[0]: line.split(":")[0] for line in found}
    assert named == {
        "alpha.png": "alpha_unclear", "colours.png": "colour_mask", "cut.png": "damaged", "deep.png": "sixteen_bit",
        "empty.png": "empty_mask", "full.png": "full_mask", "good.png": "same_mask", "lost.png": "dangling",
        "numbers.png": "dim_mask", "photo.png": "photo_mask", "soft.png": named["soft.png"],
        "stack.tif": "several_pages", "text.png": "not_an_image",
        "volume.nii.gz": "unread", "wide.png": "wrong_size", "zero_one.png": "zero_one_mask",
    }  # fmt: skip
    assert named["soft.png"] in ("photo_mask", "grey_area")
    assert next(line for line in found if "set mask_threshold: 0 in masks.mine" in line).startswith("zero_one_mask")


def test_keys_of_the_row_explain_values(real, tmp_path):
    one, other = blobs((20, 24, 8, 6)), blobs((30, 20, 5, 7))
    for name, labels in (("a", one), ("b", other), ("c", blobs((14, 14, 6, 6))), ("d", blobs((30, 30, 4, 6)))):
        save(tmp_path / f"numbers/{name}.png", labels)
        save(tmp_path / f"black/{name}.png", 255 * (1 - labels))
        save(tmp_path / f"void/{name}.png", labels + 255 * blobs((40, 40, 4, 4)))
    for folder, keys in (
        ("numbers", {"mask_threshold": 0}),
        ("black", {"inverted_masks": True}),
        ("void", {"mask_threshold": 0, "as_background": (255,)}),
    ):
        given, _ = of_folder(tmp_path / folder, real, **keys)
        assert np.array_equal(given[0].labels, one), folder
    [line] = refused(tmp_path / "black", real)
    assert line.startswith("lesion covers most of the border in 4 of 4 masks, as if black and white were exchanged")


def test_other_sizes_are_stretched_or_framed_as_the_row_says(real, tmp_path):
    wide = np.zeros((40, 80), np.uint8)
    wide[10:30, 20:60] = 255
    save(tmp_path / "wide/a.png", wide)
    [stretched], _ = of_folder(tmp_path / "wide", real, resize="stretch")
    assert (stretched.row.box, stretched.labels.any(1).sum(), stretched.labels.any(0).sum()) == ("", 24, 24)
    [framed], _ = of_folder(tmp_path / "wide", real, resize="letterbox")
    assert (framed.row.box, framed.labels.any(1).sum(), framed.labels.any(0).sum()) == ("0 12 48 24", 12, 24)
    speck = np.zeros((480, 480), np.uint8)
    speck[3, 3] = 255
    save(tmp_path / "speck/a.png", speck)
    assert refused(tmp_path / "speck", real, resize="stretch")[0].startswith("lost_lesion: a.png")


def test_classes_must_be_those_of_the_data_set(real, tmp_path):
    labels = blobs((14, 14, 6, 6)) + 2 * blobs((36, 34, 6, 6))
    two = write_set(tmp_path / "two", {"a": labels}, classes="polyp|tool")
    save(tmp_path / "drawn/a.png", labels * 100)
    [given], row = of_folder(tmp_path / "drawn", two, classes={"polyp": 100, "tool": 200})
    assert np.array_equal(given.labels, labels)
    write_given([given], 1, "mine", row, tmp_path / "out")
    masks = read_pairs(tmp_path / "out/1")
    assert np.array_equal(masks.labels(masks.pairs[0]), labels)
    with pytest.raises(UserError, match=r"has the classes polyp, tool, in this order, and masks.mine has one class"):
        of_folder(tmp_path / "drawn", two)
    with pytest.raises(UserError, match=r"has one class of lesion, and masks.mine has polyp, tool"):
        of_folder(tmp_path / "drawn", real, classes={"polyp": 100, "tool": 200})
    with pytest.raises(ValidationError, match="each needs a value of its own"):
        of_folder(tmp_path / "drawn", real, classes={"polyp": 1, "tool": 1})
    with pytest.raises(UserError, match=r"the data set has one class of lesion, and datasets.other has polyp, tool"):
        dataset_masks(DatasetMasks(kind="dataset", copies=1, dataset="other"), "mine", real, two.folder, {})


def test_masks_of_held_out_pairs_and_doubles_are_refused_until_they_are_allowed(real, drawn, tmp_path):
    test = write_set(tmp_path / "test", {"t7": blobs((20, 30, 6, 6)), "t8": blobs((30, 10, 5, 5))})
    [line] = refused(drawn, real, {"test": test})
    assert line == "leak: b.png is the mask of test/t7 (IoU 1.0000): remove it, or set allow_duplicates: [b]"
    save(drawn / "d.png", 255 * blobs((20, 30, 6, 6)))
    assert len(refused(drawn, real, {"test": test})) == 3
    assert len(of_folder(drawn, real, {"test": test}, allow_duplicates=("b", "d"))[0]) == 4
    save(drawn / "void.png", 0 * blobs())
    allowed = of_folder(drawn, real, {"test": test}, allow_duplicates=("*",), allow_empty=True)[0]
    assert len(allowed) == 5


def test_odd_folders_are_user_errors(real, drawn, tmp_path):
    assert refused(tmp_path / "nowhere", real) == [
        f"missing: {tmp_path}/nowhere is not a folder: name one that holds masks"
    ]
    (tmp_path / "bare").mkdir()
    assert refused(tmp_path / "bare", real) == [f"missing: {tmp_path}/bare holds no mask"]
    save(drawn / "more-c.png", 255 * blobs((40, 40, 3, 3)))
    assert refused(drawn, real)[0].startswith("shared_stem: ")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/all").symlink_to(drawn)
    assert "in which DVC sees no change" in refused(tmp_path / "linked", real)[0]


def test_masks_of_another_data_set_get_our_size_and_no_parent(real, tmp_path):
    masks = {"x1": blobs((40, 40, 20, 10), size_px=96), "x2": blobs(size_px=96)}
    other = write_set(tmp_path / "other", masks, box="0 24 96 48")
    row = DatasetMasks(kind="dataset", copies=1, dataset="other")
    given = dataset_masks(row, "theirs", real, other.folder, {})
    assert [(mask.row.id, mask.origin, mask.row.box) for mask in given] == [
        ("x1", "other/train/x1", "0 12 48 24"), ("x2", "other/train/x2", "0 12 48 24"),
    ]  # fmt: skip
    assert np.array_equal(given[0].labels, masks["x1"][::2, ::2])
    counts = write_given(given, len(real), "theirs", row, tmp_path / "out")
    made = read_pairs(tmp_path / "out/1")
    assert counts["without_lesion"] == sum(not pair.foreground for pair in made.pairs) > 0
    assert {(pair.parent, pair.group, pair.domain) for pair in made.pairs} == {("", "", "")}
    only = row.model_copy(update={"without": ("x2",)})
    assert len(dataset_masks(only, "theirs", real, other.folder, {})) == 1
    for without, words in ((("x9",), "no pairs of .*: x9"), (("x1", "x2"), "leaves none of the 2 pairs")):
        with pytest.raises(UserError, match=words):
            dataset_masks(row.model_copy(update={"without": without}), "theirs", real, other.folder, {})


def test_a_lesion_that_is_lost_at_our_size_is_named_of_a_data_set_too(real, tmp_path):
    speck = blobs(size_px=96)
    speck[31, 31] = 1
    other = write_set(tmp_path / "other", {"x1": speck, "x2": blobs((40, 40, 20, 10), size_px=96)})
    row = DatasetMasks(kind="dataset", copies=1, dataset="other")
    with pytest.raises(UserError) as caught:
        dataset_masks(row, "theirs", real, other.folder, {})
    lost = "lost_lesion: other/train/x1: its lesion vanishes at 48x48: leave it out, without: [x1]"
    assert caught.value.problems == (lost,)
    assert len(dataset_masks(row.model_copy(update={"without": ("x1",)}), "theirs", real, other.folder, {})) == 1
    two = blobs((40, 40, 20, 10), size_px=96)
    two[31, 31] = 2
    tools = write_set(tmp_path / "tools", {"a": two, "b": 2 * (two > 0).astype(np.uint8)}, classes="polyp|tool")
    ours = write_set(tmp_path / "ours", {"r": 2 * blobs((20, 20, 4, 4)) + blobs((40, 40, 4, 4))}, classes="polyp|tool")
    with pytest.raises(UserError, match="train/a: its tool vanishes at 48x48"):
        dataset_masks(row, "theirs", ours, tools.folder, {})


def test_a_data_set_gives_no_masks_of_pairs_that_ours_is_tested_on(real, tmp_path):
    other = write_set(tmp_path / "other", {"x1": blobs((30, 10, 5, 5)), "x2": blobs((12, 30, 6, 6))})
    test = write_set(tmp_path / "test", {"t8": blobs((30, 10, 5, 5))})
    row = DatasetMasks(kind="dataset", copies=1, dataset="other")
    with pytest.raises(UserError) as caught:
        dataset_masks(row, "theirs", real, other.folder, {"test": test})
    leak = "leak: other/train/x1 is the mask of test/t8 (IoU 1.0000): leave it out, without: [x1]"
    assert caught.value.problems == (leak,)
    only = row.model_copy(update={"without": ("x1",)})
    assert len(dataset_masks(only, "theirs", real, other.folder, {"test": test})) == 1
    with pytest.raises(UserError, match="not prepared yet") as caught:
        dataset_masks(row, "theirs", real, tmp_path / "none", {})
    assert "python -m pipeline repro prepare@other" in caught.value.problems[0]


def test_a_data_set_s_own_masks_keep_their_parents(real, tmp_path):
    row = DatasetMasks(kind="dataset", copies=1, dataset="this")
    given = dataset_masks(row, "own", real, real.folder, {})
    write_given(given, len(real), "own", row, tmp_path / "out")
    made = read_pairs(tmp_path / "out/1")
    assert {(pair.parent, pair.mask_sha256) for pair in made.pairs} == {(p.id, p.mask_sha256) for p in real.pairs}
