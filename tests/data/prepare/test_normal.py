"""Images without a lesion beside the splits: a folder, drawn ones, squares of training images; never a test image."""

import json

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from data.exports.verify import verify
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from data.pairs.prepared import POOL, Prepared
from data.prepare.config import Dataset
from data.prepare.normal import free_corners
from data.prepare.phantom import draw_phantom
from data.prepare.prepare import prepare
from tests.data.layouts.trees import draw, save

PHANTOM = {"kind": "phantom", "path": "x", "size_px": 32, "prompt": "p", "train": 4, "test": 4, "seed": 0}


def row(**values):
    return TypeAdapter(Dataset).validate_json(json.dumps(values))


@pytest.fixture
def clinic(tmp_path):
    root = tmp_path / "clinic"
    for side in ("train", "test"):
        for number in range(3):
            save(root / f"{side}/images/{side}{number}.png", root / f"{side}/masks/{side}{number}.png")
    (root / "good").mkdir()
    for number in range(4):
        Image.fromarray(draw(f"good{number}")[0]).save(root / f"good/g{number}.png")
    return root


def folder_row(clinic, **normal):
    base = {"kind": "folder", "path": str(clinic), "size_px": 32, "prompt": "p", "normal": normal}
    return row(**base, splits={"train": "train", "test": "test"})


def test_a_folder_becomes_a_pair_set_with_empty_masks_and_no_split(clinic, tmp_path):
    prepare(folder_row(clinic, path="good", limit=3), tmp_path / "out")
    pool = read_pairs(tmp_path / "out" / POOL)
    verify(pool)
    assert len(pool) == 3
    assert {(pair.split, pair.foreground) for pair in pool.pairs} == {("normal", 0.0)}
    assert not pool.masks().any()
    assert Prepared(tmp_path / "out").names() == ["test", "train"]


def test_a_test_image_never_enters(clinic, tmp_path):
    Image.fromarray(draw("test1")[0]).save(clinic / "good/again.png")
    (clinic / "test/images/test1.png").write_bytes((clinic / "good/again.png").read_bytes())
    with pytest.raises(UserError) as caught:
        prepare(folder_row(clinic, path="good"), tmp_path / "out")
    assert "normal: good/again.png and test/test1 are nearly the same image" in caught.value.problems[0]
    allowed = folder_row(clinic, path="good").model_copy(update={"allow_duplicates": ("*",)})
    prepare(allowed, tmp_path / "out")
    assert len(read_pairs(tmp_path / "out" / POOL)) == 4  # left out, not let in


def test_a_folder_of_pairs_or_of_nothing_is_refused(clinic, tmp_path):
    for name, words in {"train": "normal.path: .*holds pairs", "nowhere": "normal.path: .*is not a folder"}.items():
        with pytest.raises(UserError, match=words):
            prepare(folder_row(clinic, path=name), tmp_path / "out")


def test_drawn_images_are_those_of_pairs_without_the_lesion(tmp_path):
    plain = prepare(row(**PHANTOM), tmp_path / "plain")
    assert len(read_pairs(tmp_path / "plain" / POOL)) == 0
    prepare(row(**PHANTOM, normal={"count": 3}), tmp_path / "out")
    assert sha256_tree(plain["train"].folder) == sha256_tree(tmp_path / "out/train")  # the pairs stay as they were
    pool = read_pairs(tmp_path / "out" / POOL)
    assert len(pool) == 3
    for pair in pool.pairs:
        image, mask = draw_phantom(0, pair.id, 32)
        np.testing.assert_array_equal(pool.image(pair)[mask == 0][:5], image[mask == 0][:5])
        assert np.abs(pool.image(pair).astype(int) - image)[mask > 0].mean() > 5


def test_crops_hold_no_lesion_and_say_where_they_are_from(tmp_path):
    made = prepare(row(**PHANTOM, normal={"crops": 7, "side": 0.3}), tmp_path / "out")
    pool = read_pairs(tmp_path / "out" / POOL)
    assert len({pair.image_sha256 for pair in pool.pairs}) == 7
    assert {pair.parent for pair in pool.pairs} <= {pair.id for pair in made["train"].pairs}
    more = prepare(row(**PHANTOM, normal={"crops": 9, "side": 0.3}), tmp_path / "more") and read_pairs(
        tmp_path / "more" / POOL
    )
    assert {pair.image_sha256 for pair in pool.pairs} < {pair.image_sha256 for pair in more.pairs}
    with pytest.raises(UserError, match="every square of side 1 in the training images holds lesion"):
        prepare(row(**PHANTOM, normal={"crops": 7, "side": 1.0}), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_free_corners_are_all_squares_without_a_lesion():
    lesion = np.zeros((9, 9), np.uint8)
    lesion[4, 5] = 1
    expected = {(i, j) for i in range(7) for j in range(7) if not lesion[i : i + 3, j : j + 3].any()}
    assert {tuple(corner) for corner in free_corners(lesion, 3)} == expected


@pytest.mark.parametrize(
    ("normal", "words"),
    [
        ({}, "needs one of path, count and crops, got none"),
        ({"crops": 3, "count": 3}, "got count and crops"),
        ({"path": "../good"}, "must be a folder below the path"),
        ({"crops": 3, "limit": 2}, "limit is of path"),
        ({"path": "good"}, "path is for folders of pairs"),
    ],
)
def test_what_cannot_be_meant_is_refused(normal, words):
    with pytest.raises(ValidationError, match=words):
        row(**PHANTOM, normal=normal)
