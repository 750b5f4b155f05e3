"""Folders that somebody else made: layouts, grey masks, and every fault named in one error."""

import numpy as np
import pytest
from PIL import Image

from data.exports.verify import verify
from data.mask_files.pixels import mask_pixels, threshold_mask
from data.pairs.errors import UserError
from data.pairs.image_io import MASK_THRESHOLD
from data.pairs.manifest import read_pairs
from data.pairs.prepared import Prepared
from data.pairs.seeds import item_seed
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare


def picture(path, shape=(40, 48), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)).save(path)


def mask(path, shape=(40, 48), value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.uint8)
    array[10:20, 10:30] = value
    Image.fromarray(array).save(path)


def row(path, **changes):
    base = {
        "kind": "folder",
        "path": str(path),
        "size_px": 32,
        "prompt": "a polyp",
        "splits": {"train": 0.5, "test": 0.5},
    }
    return FolderDataset(**{**base, **changes})


@pytest.fixture
def many(tmp_path):
    for number in range(10):
        picture(tmp_path / f"raw/images/{number:02d}.jpg", seed=number)
        mask(tmp_path / f"raw/masks/{number:02d}.png")
    return tmp_path / "raw"


def test_splits_by_share_are_seeded_disjoint_and_complete(many, tmp_path):
    sets = prepare(row(many), tmp_path / "a")
    again = prepare(row(many), tmp_path / "b")
    ids = {split: [pair.id for pair in pairs.pairs] for split, pairs in sets.items()}
    assert ids == {split: [pair.id for pair in pairs.pairs] for split, pairs in again.items()}
    assert len(ids["train"]) == len(ids["test"]) == 5
    assert len(set(ids["train"]) | set(ids["test"])) == 10
    other = prepare(row(many, seed=1), tmp_path / "c")
    assert [pair.id for pair in other["train"].pairs] != ids["train"]
    for split in sets:
        verify(read_pairs(tmp_path / "a" / split))
    assert Prepared(tmp_path / "a").test_names() == ["test"]


def test_splits_by_sub_folder_and_limits(tmp_path):
    for split, count in (("TrainDataset", 6), ("tests/one", 3), ("tests/two", 2)):
        for number in range(count):
            picture(tmp_path / f"raw/{split}/image/{number}.png", seed=item_seed(split, number))
            mask(tmp_path / f"raw/{split}/mask/{number}.png")
    splits = {"train": "TrainDataset", "one": "tests/one", "two": "tests/two"}
    sets = prepare(row(tmp_path / "raw", splits=splits, limit={"train": 4}), tmp_path / "out")
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 4, "one": 3, "two": 2}
    assert Prepared(tmp_path / "out").test_names() == ["one", "two"]


@pytest.mark.parametrize("suffix", ["_mask", "_segmentation", "_Segmentation", "_lesion"])
@pytest.mark.parametrize("layout", ["beside", "apart"])
def test_mask_suffixes_pair_up(tmp_path, suffix, layout):
    for number in range(4):
        picture(tmp_path / ("raw" if layout == "beside" else "raw/images") / f"a{number}.png", seed=number)
        mask(tmp_path / ("raw" if layout == "beside" else "raw/Masks") / f"a{number}{suffix}.png")
    sets = prepare(row(tmp_path / "raw"), tmp_path / "out")
    assert sorted(pair.id for pairs in sets.values() for pair in pairs.pairs) == ["a0", "a1", "a2", "a3"]


def test_grey_jpeg_masks_are_cut_at_127_before_resizing(tmp_path):
    grey = np.zeros((64, 64, 3), np.uint8)
    grey[16:48, 16:48] = 255
    grey[12:16, 16:48] = 60
    grey[48:52, 16:48] = MASK_THRESHOLD + 30
    for number in range(2):
        picture(tmp_path / f"raw/images/{number}.jpg", (64, 64), number)
        (tmp_path / "raw/masks").mkdir(exist_ok=True)
        Image.fromarray(grey).save(tmp_path / f"raw/masks/{number}.jpg", quality=100)
    sets = prepare(row(tmp_path / "raw", size_px=64), tmp_path / "out")
    found = sets["train"].mask(sets["train"].pairs[0])
    assert set(np.unique(found)) == {0, 1}
    assert found[13].sum() == 0
    assert found[50, 20:44].all()


def test_four_faults_are_named_in_one_error_and_nothing_is_written(many, tmp_path):
    whole = (many / "images/03.jpg").read_bytes()
    (many / "images/03.jpg").write_bytes(whole[: len(whole) // 2])
    mask(many / "masks/stray_mask.png")
    picture(many / "images/05.jpg", (40, 50))
    Image.fromarray(np.full((40, 48), 40000, np.uint16)).save(many / "images/07.png")
    (many / "images/07.jpg").unlink()
    with pytest.raises(UserError) as caught:
        prepare(row(many), tmp_path / "out")
    text = str(caught.value)
    assert len(caught.value.problems) == 4, text
    assert "03.jpg: is damaged" in text
    assert "stray_mask.png: has no image" in text
    assert "05.jpg: is 50x40 but its mask 05.png is 48x40" in text
    assert "07.png: has more than 8 bits a channel" in text
    assert not list(tmp_path.glob("*out*"))


def test_masks_of_zero_and_one_are_refused_with_the_threshold_to_set(tmp_path):
    mask(tmp_path / "m.png", value=1)
    with pytest.raises(ValueError, match="mask_threshold: 0"):
        threshold_mask(mask_pixels(tmp_path / "m.png"), MASK_THRESHOLD)
    assert threshold_mask(mask_pixels(tmp_path / "m.png"), 0).sum() == 200


def test_a_stem_that_two_files_share_is_a_problem(many, tmp_path):
    picture(many / "images/04.png")
    with pytest.raises(UserError, match="shares its stem '04'"):
        prepare(row(many), tmp_path / "out")


def test_missing_and_empty_folders_say_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        prepare(row(tmp_path / "nowhere"), tmp_path / "out")
    (tmp_path / "raw/pictures").mkdir(parents=True)
    with pytest.raises(UserError, match="contains \\['pictures'\\]"):
        prepare(row(tmp_path / "raw"), tmp_path / "out")


def test_sixteen_bit_colour_is_named_too(many, tmp_path):
    import cv2

    cv2.imwrite(str(many / "images/07.png"), np.full((40, 48, 3), 40000, np.uint16))
    (many / "images/07.jpg").unlink()
    with pytest.raises(UserError, match=r"07\.png: has more than 8 bits a channel"):
        prepare(row(many), tmp_path / "out")


def test_rows_need_train_and_a_test_set_and_shares_up_to_one():
    with pytest.raises(ValueError, match="at least one test set"):
        row("x", splits={"train": 0.5})
    with pytest.raises(ValueError, match=r"add up to 1\.4"):
        row("x", splits={"train": 0.7, "test": 0.7})
    with pytest.raises(ValueError, match="pattern"):
        row("x", splits={"train": 0.5, "../out": 0.5})
    with pytest.raises(ValueError, match="no such split"):
        row("x", limit={"tset": 3})


def test_lesions_that_no_pixel_is_left_of_are_named(many, tmp_path, capsys):
    def thin(number):  # a line in a row that halving leaves out
        array = np.zeros((64, 64), np.uint8)
        array[21, 10:13] = 255
        picture(many / f"images/{number:02d}.jpg", (64, 64), seed=number)
        Image.fromarray(array).save(many / f"masks/{number:02d}.png")

    thin(0)
    sets = prepare(row(many), tmp_path / "a")
    assert sum(not pair.foreground for pairs in sets.values() for pair in pairs.pairs) == 1
    what = "masks fall between the pixels of size_px 32, where these masks are empty: take a larger size_px"
    assert f"the lesions of 1 {what}, or leave these pairs out (00)" in capsys.readouterr().err
    for number in range(1, 10):
        thin(number)
    with pytest.raises(UserError, match="the lesions of 10 masks fall between"):
        prepare(row(many, inverted_masks=False), tmp_path / "b")
