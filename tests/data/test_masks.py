"""Random masks: binary, in frame, within bounds, the same for everybody, and prefix-stable."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pairs.config import PhantomDataset, RealMasks, TransformedMasks
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from data.pairs.masks import apply_moves, transform_mask, write_masks
from data.pairs.phantom import draw_phantom
from data.pairs.prepare import prepare

ROW = TransformedMasks(
    kind="transformed", copies=3, seed=0, flip=0.5, scale=(0.7, 1.3), shift=0.2, rotate_deg=180.0,
    area=(0.01, 0.6), lost=0.02, attempts=50,
)  # fmt: skip
STILL = {"flip_x": 0, "flip_y": 0, "scale": 1.0, "rotate_deg": 0.0, "shift_x": 0.0, "shift_y": 0.0}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_moved_masks_are_binary_in_frame_and_within_bounds(seed):
    mask = draw_phantom(seed, "p", 64)[1]
    moved, how = transform_mask(mask, ROW, "p", 1)
    assert moved.shape == mask.shape
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) <= {0, 1}
    if how["attempts"] <= ROW.attempts:
        assert ROW.area[0] <= moved.mean() <= ROW.area[1]
        assert how["lost"] <= ROW.lost
    else:
        assert moved.sum() == mask.sum()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.6, 1.6), st.integers(0, 1000))
def test_scale_changes_the_area_by_its_square(scale, seed):
    mask = draw_phantom(seed, "p", 128)[1]
    moved, lost = apply_moves(mask, {**STILL, "scale": scale})
    whole = moved.sum() / (1 - lost)
    assert whole / mask.sum() == pytest.approx(scale**2, rel=0.04)


def test_no_move_is_the_mask_itself_and_flips_keep_the_area():
    mask = draw_phantom(3, "p", 64)[1]
    assert np.array_equal(apply_moves(mask, STILL)[0], mask)
    assert np.array_equal(apply_moves(mask, {**STILL, "flip_x": 1})[0], mask[:, ::-1])
    assert np.array_equal(apply_moves(mask, {**STILL, "flip_y": 1})[0], mask[::-1])


def test_what_leaves_the_frame_is_counted():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 50:60] = 1
    moved, lost = apply_moves(mask, {**STILL, "shift_x": 9 / 64})
    assert moved.sum() == 50
    assert lost == pytest.approx(0.5)


def test_impossible_bounds_fall_back_to_a_flip_that_is_counted():
    mask = draw_phantom(0, "p", 64)[1]
    row = ROW.model_copy(update={"area": (0.9, 0.95), "attempts": 3})
    moved, how = transform_mask(mask, row, "p", 1)
    assert how["attempts"] == 4
    assert moved.sum() == mask.sum()
    assert json.loads(how["moves"])["scale"] == 1.0


def test_an_empty_mask_stays_empty():
    assert not transform_mask(np.zeros((64, 64), np.uint8), ROW, "p", 1)[0].any()


@pytest.fixture
def real(tmp_path):
    row = PhantomDataset(kind="phantom", path="x", size_px=64, prompt="", train=6, test=4, seed=0)
    return prepare(row, tmp_path / "phantom")["train"]


def test_more_copies_leave_the_first_ones_as_they_were(real, tmp_path):
    write_masks(real, "random", ROW, tmp_path / "three")
    counts = write_masks(real, "random", ROW.model_copy(update={"copies": 4}), tmp_path / "four")
    for copy in (1, 2, 3):
        assert sha256_tree(tmp_path / "three" / str(copy)) == sha256_tree(tmp_path / "four" / str(copy))
    assert counts["masks"] == 24
    assert sha256_tree(tmp_path / "four/1/masks") != sha256_tree(tmp_path / "four/2/masks")


def test_provenance_repeats_the_mask(real, tmp_path):
    write_masks(real, "random", ROW, tmp_path / "out")
    masks = read_pairs(tmp_path / "out/2")
    with (tmp_path / "out/2/provenance.csv").open() as file:
        for line in csv.DictReader(file):
            parent = next(pair for pair in real.pairs if pair.id == line["parent"])
            again, _ = apply_moves(real.mask(parent), json.loads(line["moves"]))
            pair = next(pair for pair in masks.pairs if pair.id == line["id"])
            assert np.array_equal(masks.mask(pair), again)
            assert float(line["area_after"]) == pytest.approx(pair.foreground, abs=1e-6)


def test_real_masks_are_the_parents(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=2), tmp_path / "out")
    for copy in (1, 2):
        masks = read_pairs(tmp_path / "out" / str(copy))
        assert [pair.parent for pair in masks.pairs] == [pair.id for pair in real.pairs]
        assert [pair.mask_sha256 for pair in masks.pairs] == [pair.mask_sha256 for pair in real.pairs]
