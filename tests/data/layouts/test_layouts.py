"""Every layout that users have is recognised without help and prepared with the right counts."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.layouts.layouts import LAYOUTS, find
from data.mask_files.read import Reading
from data.pairs.errors import UserError
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from data.readers.reading import read_source
from tests.data.layouts import further_trees, trees

TREES = {**trees.TREES, **further_trees.TREES}


def row(path, **changes):
    base = {"kind": "folder", "path": str(path), "size_px": 32, "prompt": "p", "splits": {"train": 0.5, "test": 0.5}}
    return FolderDataset(**{**base, **changes})


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.__name__)
def test_a_layout_is_recognised_and_prepared_by_the_row_that_doctor_prints(tree, tmp_path):
    tree(tmp_path / "raw")
    layout, counts = TREES[tree]
    found = find(tmp_path / "raw")
    assert found.layout == layout
    assert Counter(source.split for source in found.sources) == counts
    assert found.unmatched == []
    result, _ = examine(tmp_path / "raw")
    assert [f for f in result["faults"] if f["severity"] == "stops prepare"] == []
    sets = prepare(FolderDataset(**{**result["row"], "size_px": 32}), tmp_path / "out")
    assert sum(len(pairs) for pairs in sets.values()) == sum(counts.values())
    if {"train", "test"} <= set(counts):
        assert {split: len(pairs) for split, pairs in sets.items()} == counts
    for pairs in sets.values():
        assert set(np.unique(pairs.masks())) == {0, 1}


@pytest.mark.parametrize("tree", further_trees.TREES, ids=lambda tree: tree.__name__)
def test_image_and_mask_of_a_pair_are_those_that_were_drawn_together(tree, tmp_path):
    tree(tmp_path)
    for source in find(tmp_path).sources:
        drawn = source.image if source.reader is None else source.image.stem
        image, lesion = trees.draw(str(drawn))
        read, mask = read_source(source, Reading(0 if source.reader else 127))
        overlap = (mask & lesion).sum() / (mask | lesion).sum()
        assert overlap > 0.85 if source.reader else overlap == 1, source  # an outline runs along the middle of pixels
        assert np.abs(read.astype(int) - image).mean() < 20


def test_every_layout_has_a_tree():
    assert {layout for layout, _ in TREES.values()} == set(LAYOUTS)


def test_pranet_knows_where_a_polyp_comes_from_and_leaves_the_merged_test_set_out(tmp_path):
    trees.pranet(tmp_path)
    found = find(tmp_path)
    assert Counter(s.domain for s in found.sources if s.split == "train") == {"clinicdb": 2, "kvasir": 3}
    assert "left out" in found.notes[0]


def test_several_masks_are_merged_and_lossless_ones_preferred(tmp_path):
    trees.busi(tmp_path)
    source = next(s for s in find(tmp_path).sources if s.id == "benign (1)")
    assert len(source.masks) == 2
    mask = read_source(source, Reading())[1]
    assert mask[:4, :4].all()
    assert mask.sum() >= trees.draw(str(tmp_path / "benign/benign (1).png"))[1].sum()
    trees.ph2(tmp_path / "ph2")
    place = tmp_path / "ph2/PH2 Dataset images/IMD000/IMD000_lesion"
    Image.open(place / "IMD000_lesion.bmp").save(place / "IMD000_lesion.jpg")
    first = find(tmp_path / "ph2").sources[0]
    assert [path.suffix for path in first.masks] == [".bmp"]


def test_lists_of_ids_make_the_splits(tmp_path):
    trees.clinicdb(tmp_path / "raw")
    (tmp_path / "raw/train.txt").write_text("1\n2.tif\n3\n")
    (tmp_path / "raw/val.txt").write_text("4\n5\n")
    splits = {"train": "train.txt", "test": "val.txt"}
    sets = prepare(row(tmp_path / "raw", splits=splits, expect={"train": 3}), tmp_path / "out")
    assert [pair.id for pair in sets["test"].pairs] == ["4", "5"]
    (tmp_path / "raw/val.txt").write_text("4\n9\n")
    with pytest.raises(UserError, match=r"names 9, which is no pair"):
        prepare(row(tmp_path / "raw", splits=splits), tmp_path / "two")


def test_counts_that_are_not_as_expected_are_named(tmp_path):
    trees.folders(tmp_path / "raw")
    splits = {"train": "train", "test": "test"}
    with pytest.raises(UserError, match=r"split train: 4 pairs found, 900 expected") as caught:
        prepare(row(tmp_path / "raw", splits=splits, expect={"train": 900, "test": 379}), tmp_path / "out")
    assert "split test: 2 pairs found, 379 expected" in str(caught.value)
    with pytest.raises(UserError, match=r"cvc is no sub-folder, and layout folders has \['test', 'train', 'val'\]"):
        prepare(row(tmp_path / "raw", splits={"train": "train", "test": "cvc"}), tmp_path / "out")


def test_sides_that_share_ids_can_be_pooled_and_shared_out_anew(tmp_path):
    for side in ("train", "test"):
        for number in range(3):
            trees.save(tmp_path / f"raw/{side}/images/{number}.png", tmp_path / f"raw/{side}/masks/{number}.png")
    sets = prepare(row(tmp_path / "raw"), tmp_path / "out")
    ids = {pair.id for pairs in sets.values() for pair in pairs.pairs}
    assert ids == {f"{side}-{number}" for side in ("train", "test") for number in range(3)}


def test_groups_stay_together_in_splits_by_share(tmp_path):
    for video in range(4):
        for frame in range(4):
            trees.save(tmp_path / f"raw/images/v{video}_{frame}.png", tmp_path / f"raw/masks/v{video}_{frame}.png")
    for seed in range(4):
        sets = prepare(row(tmp_path / "raw", group=r"^(v\d)_", seed=seed), tmp_path / f"out{seed}")
        homes = {split: {pair.group for pair in pairs.pairs} for split, pairs in sets.items()}
        assert homes["train"] & homes["test"] == set()
        assert {len(pairs) for pairs in sets.values()} == {8}
    with pytest.raises(ValueError, match="no regular expression"):
        row(tmp_path, group="(")


def test_groups_that_lie_in_two_sub_folders_are_refused(tmp_path):
    for name in ("train", "test"):
        trees.save(tmp_path / f"{name}/images/p1_{name}.png", tmp_path / f"{name}/masks/p1_{name}.png")
    with pytest.raises(UserError, match="group p1 is in both train and test"):
        prepare(row(tmp_path, splits={"train": "train", "test": "test"}, group="^p1"), tmp_path / "out")


def test_a_near_duplicate_across_splits_is_reported_and_refused_unless_it_is_allowed_by_name(tmp_path):
    trees.folders(tmp_path / "raw")
    with Image.open(tmp_path / "raw/train/images/train0.jpg") as picture:
        picture.resize((60, 60)).resize((64, 64)).save(tmp_path / "raw/test/images/test1.jpg", quality=90)
    codes = {fault["code"] for fault in examine(tmp_path / "raw")[0]["faults"]}
    assert "near_duplicate_across_splits" in codes
    splits = {"train": "train", "test": "test"}
    with pytest.raises(UserError, match=r"train/train0 and test/test1 are nearly the same image"):
        prepare(row(tmp_path / "raw", splits=splits), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    sets = prepare(row(tmp_path / "raw", splits=splits, allow_duplicates=("test1",)), tmp_path / "out")
    assert len(sets["test"]) == 2


def test_a_folder_without_pairs_and_a_layout_that_does_not_fit_say_what_is_known(tmp_path):
    trees.folders(tmp_path)
    with pytest.raises(UserError, match="in the layout isic"):
        find(tmp_path, "isic")
    with pytest.raises(UserError, match="no such layout: isik"):
        examine(tmp_path, "isik")
