"""Random masks: binary, in frame, within their constraints, the same for everybody, and prefix-stable."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data.drawing import rgb
from data.masks.config import AnyTransform, RealMasks, TransformedMasks
from data.masks.constraints import broken_constraint
from data.masks.masks import transform_mask, write_masks
from data.masks.moves import apply_moves
from data.pairs.files import sha256_tree
from data.pairs.image_io import read_image, write_image, write_mask
from data.pairs.manifest import Pair, complete, content, read_pairs, write_manifest
from data.prepare.config import PhantomDataset
from data.prepare.phantom import draw_phantom
from data.prepare.prepare import prepare
from tests.contracts.imports import ROOT

ALL = [
    {"name": "flip", "probability": 0.5},
    {"name": "swap", "probability": 0.3},
    {"name": "elastic", "strength": 0.1, "smoothness": 0.3, "probability": 0.5},
    {"name": "scale", "factor": (0.7, 1.3)},
    {"name": "rotate", "degrees": (-180.0, 180.0)},
    {"name": "shift", "most": 0.2},
]


def row(transforms=ALL, attempts=50, copies=3, **constraints) -> TransformedMasks:
    limits = {"area": (0.01, 0.6), "lost": 0.02, **constraints}
    return TransformedMasks(
        kind="transformed", copies=copies, seed=0, transforms=tuple(transforms), constraints=limits, attempts=attempts
    )


def lesion(seed, size_px=64) -> np.ndarray:
    return draw_phantom(seed, "p", size_px)[1]


def donor(name) -> np.ndarray:
    return lesion(int(name))


def move(name, **values):
    return {"name": name, **values}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_transformed_masks_are_binary_in_frame_non_empty_and_within_their_constraints(which, seed):
    mask, limits = lesion(which), row(connected="one", border="never", change=0.1)
    made = transform_mask(mask, limits, seed, ["1", "2"], donor)
    assert made.labels.shape == mask.shape
    assert made.labels.dtype == np.uint8
    assert set(np.unique(made.labels)) == {0, 1}
    if made.how["attempts"] <= limits.attempts:
        origin = donor(made.how["donor"]) if made.how["donor"] else mask
        assert broken_constraint(limits.constraints, made.labels, made.how["lost"], mask, origin) == ""
        assert 0.01 <= made.labels.mean() <= 0.6
    else:
        assert made.labels.sum() == mask.sum()
    assert made.rejected.total() == made.how["attempts"] - 1


@settings(max_examples=20, deadline=None)
@given(st.floats(0.6, 1.6), st.floats(-180, 180), st.integers(0, 1000))
def test_scale_changes_the_area_by_its_square(scale, degrees, seed):
    mask = lesion(seed, 128)
    moved, lost = apply_moves(mask, [move("rotate", degrees=degrees), move("scale", factor=scale)], donor)
    assert moved.sum() / (1 - lost) / mask.sum() == pytest.approx(scale**2, rel=0.04)


def test_every_transform_does_what_its_name_says():
    mask = lesion(3)
    kinds = get_args(get_args(AnyTransform)[0])
    assert {get_args(kind.model_fields["name"].annotation)[0] for kind in kinds} == {entry["name"] for entry in ALL}
    assert np.array_equal(apply_moves(mask, [], donor)[0], mask)
    assert np.array_equal(apply_moves(mask, [move("flip", x=True, y=False)], donor)[0], mask[:, ::-1])
    assert np.array_equal(apply_moves(mask, [move("flip", x=False, y=True)], donor)[0], mask[::-1])
    assert np.array_equal(apply_moves(mask, [move("shift", x=0.125, y=0.0)], donor)[0], np.roll(mask, 8, axis=1))
    bent, _ = apply_moves(mask, [move("elastic", strength=0.15, smoothness=0.3, seed=1)], donor)
    assert 0.5 < bent.sum() / mask.sum() < 2
    assert not np.array_equal(bent, mask)
    bar = np.zeros((64, 64), np.uint8)
    bar[31:33, 12:52] = 1
    turned, _ = apply_moves(bar, [move("rotate", degrees=90.0)], donor)
    assert (turned.any(0).sum(), turned.any(1).sum()) == (2, 40)
    ys, xs = np.nonzero(apply_moves(bar, [move("rotate", degrees=30.0)], donor)[0])
    assert np.polyfit(xs, ys, 1)[0] == pytest.approx(-np.tan(np.radians(30)), abs=0.08)  # against the clock, y is down


def test_a_swap_puts_another_lesion_where_this_one_was():
    mask, other = lesion(3), lesion(8)
    swapped, lost = apply_moves(mask, [move("swap", donor="8")], donor)
    assert swapped.sum() / (1 - lost) == pytest.approx(other.sum(), rel=1e-6)
    centers = [np.argwhere(array).mean(0) for array in (mask, swapped)]
    assert np.abs(centers[0] - centers[1]).max() <= 1
    assert transform_mask(mask, row([{"name": "swap"}], change=0.02), 0, ["8"], donor).how["donor"] == "8"
    assert transform_mask(mask, row([{"name": "swap"}], change=0.02), 0, ["3"], donor).rejected == {"change": 50}


def test_bending_moves_the_outline_by_about_its_strength():
    disk = (np.hypot(*np.mgrid[-128:128, -128:128]) < 60).astype(np.uint8)
    moved = [
        apply_moves(disk, [move("elastic", strength=0.1, smoothness=0.5, seed=seed)], donor)[0] for seed in range(8)
    ]
    radii = np.concatenate([np.hypot(*(np.argwhere(m != np.roll(m, 1, 0)) - 128).T) for m in moved])
    assert 0.03 < np.std(radii) / 60 < 0.2


def test_what_leaves_the_frame_is_counted():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 50:60] = 1
    moved, lost = apply_moves(mask, [move("shift", x=9 / 64, y=0.0)], donor)
    assert moved.sum() == 50
    assert lost == pytest.approx(0.5)


def frame(*boxes, label=1) -> np.ndarray:
    array = np.zeros((64, 64), np.uint8)
    for top, left, bottom, right in boxes:
        array[top:bottom, left:right] = label
    return array


INSIDE, AT_BORDER, TWO = frame((20, 20, 40, 40)), frame((0, 20, 20, 40)), frame((5, 5, 20, 20), (40, 40, 60, 60))


@pytest.mark.parametrize(
    ("limits", "labels", "lost", "origin", "broken"),
    [
        ({"area": (0.2, 0.5)}, INSIDE, 0.0, INSIDE, "area"),
        ({"area": (0.001, 0.01)}, INSIDE, 0.0, INSIDE, "area"),
        ({}, INSIDE, 0.03, INSIDE, "lost"),
        ({"connected": "one"}, TWO, 0.0, TWO, "connected"),
        ({"connected": "as_parent"}, TWO, 0.0, INSIDE, "connected"),
        ({"connected": "as_parent"}, TWO, 0.0, TWO, ""),
        ({"connected": "any"}, TWO, 0.0, INSIDE, ""),
        ({"border": "never"}, AT_BORDER, 0.0, AT_BORDER, "border"),
        ({"border": "as_parent"}, AT_BORDER, 0.0, AT_BORDER, ""),
        ({"border": "as_parent"}, INSIDE, 0.0, AT_BORDER, "border"),
        ({"border": "as_parent"}, AT_BORDER, 0.0, INSIDE, "border"),
        ({"change": 0.5}, INSIDE, 0.0, TWO, "change"),
        ({"change": 0.5}, TWO, 0.0, TWO, "change"),
        ({"change": 0.5}, TWO, 0.0, INSIDE, ""),
        ({}, frame((20, 20, 40, 40), label=2), 0.0, INSIDE, "class_lost"),
    ],
)
def test_each_constraint_is_named_when_it_is_broken(limits, labels, lost, origin, broken):
    constraints = row(**{"connected": "any", **limits}).constraints
    assert broken_constraint(constraints, labels, lost, INSIDE, origin) == broken


def test_impossible_bounds_fall_back_to_a_flip_that_is_counted(real, tmp_path):
    mask, limits = lesion(0), row(area=(0.9, 0.95), attempts=3)
    made = transform_mask(mask, limits, 1, [], donor)
    assert made.how["attempts"] == 4
    assert made.rejected == {"area": 3}
    assert made.labels.sum() == mask.sum()
    assert {entry["name"] for entry in json.loads(made.how["moves"])} == {"flip"}
    counts = write_masks(real, "random", limits, tmp_path / "out")
    assert counts["only_flipped"] == counts["masks"] == 18
    assert counts["rejected_draws"] == {"all": 54, "area": 54}


def test_an_empty_mask_stays_empty_and_is_counted(real, tmp_path):
    write_mask(real.folder / real.pairs[0].mask, np.zeros((64, 64), np.uint8))
    with_empty = replace(real, pairs=(complete(real.folder, real.pairs[0]), *real.pairs[1:]))
    counts = write_masks(with_empty, "random", row(), tmp_path / "out")
    assert counts["without_lesion"] == 3
    assert not read_pairs(tmp_path / "out/2").mask(read_pairs(tmp_path / "out/2").pairs[0]).any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "scale", "factor": (2.0, 0.5)}, r"low <= high"),
        ({"name": "rotate", "degrees": (10.0, -10.0)}, r"low, high"),
        ({"name": "turn"}, "flip"),
    ],
)
def test_ranges_that_cannot_be_are_refused(change, text):
    with pytest.raises(ValidationError, match=text):
        row([change])
    with pytest.raises(ValidationError, match="low <= high <= 1"):
        row(area=(0.5, 1.5))


@pytest.fixture
def real(tmp_path):
    phantom = PhantomDataset(kind="phantom", path="x", size_px=64, prompt="", train=6, test=4, seed=0)
    return prepare(phantom, tmp_path / "phantom")["train"]


def test_more_copies_leave_the_first_ones_as_they_were(real, tmp_path):
    write_masks(real, "random", row(), tmp_path / "three")
    counts = write_masks(real, "random", row(copies=4), tmp_path / "four")
    for copy in (1, 2, 3):
        assert sha256_tree(tmp_path / "three" / str(copy)) == sha256_tree(tmp_path / "four" / str(copy))
    assert counts["masks"] == 24
    assert sha256_tree(tmp_path / "four/1/masks") != sha256_tree(tmp_path / "four/2/masks")


@pytest.mark.heavy
def test_another_process_with_other_threads_writes_the_same_bytes(real, tmp_path):
    limits = row()
    write_masks(real, "random", limits, tmp_path / "here")
    code = (
        "import sys, os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pathlib import Path\n"
        "from data.pairs.manifest import read_pairs\n"
        "from data.masks.config import TransformedMasks\n"
        "from data.masks.masks import write_masks\n"
        "row = TransformedMasks.model_validate_json(sys.argv[1])\n"
        "write_masks(read_pairs(Path(sys.argv[2])), 'random', row, Path(sys.argv[3]))"
    )
    arguments = [limits.model_dump_json(), str(real.folder), str(tmp_path / "there")]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)
    assert sha256_tree(tmp_path / "here") == sha256_tree(tmp_path / "there")


def test_provenance_repeats_the_mask(real, tmp_path):
    write_masks(real, "random", row(), tmp_path / "out")
    masks = read_pairs(tmp_path / "out/2")
    parents = {pair.id: real.mask(pair) for pair in real.pairs}
    with (tmp_path / "out/2/provenance.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    for line in lines:
        again, lost = apply_moves(parents[line["parent"]], json.loads(line["moves"]), parents.__getitem__)
        pair = next(pair for pair in masks.pairs if pair.id == line["id"])
        assert np.array_equal(masks.mask(pair), again)
        assert (pair.donor, pair.parent) == (line["donor"], line["parent"])
        assert float(line["lost"]) == pytest.approx(lost, abs=1e-4)
        assert float(line["area_after"]) == pytest.approx(pair.foreground, abs=1e-6)
        edge = again[0].any() or again[-1].any() or again[:, 0].any() or again[:, -1].any()
        assert line["touches_border"] == str(int(edge))


def test_real_masks_are_the_parents(real, tmp_path):
    write_masks(real, "real", RealMasks(kind="real", copies=2), tmp_path / "out")
    for copy in (1, 2):
        masks = read_pairs(tmp_path / "out" / str(copy))
        assert [pair.parent for pair in masks.pairs] == [pair.id for pair in real.pairs]
        assert [pair.mask_sha256 for pair in masks.pairs] == [pair.mask_sha256 for pair in real.pairs]


def test_the_preview_shows_parents_beside_their_copies(real, tmp_path):
    write_masks(real, "random", row(), tmp_path / "out")
    shown = read_image(tmp_path / "out/preview.png")
    assert shown.shape == (6 * 132, 4 * 132, 3)
    first = shown[:128:2, :128:2] > 128
    assert (first[..., 0] == real.mask(real.pairs[0])).mean() > 0.99
    assert ((shown[:, 132:] == rgb("mask")).all(2)).any()
    assert not ((shown[:, :128] == rgb("mask")).all(2)).any()


@pytest.fixture
def odd_set(tmp_path):
    """Two classes within a box that is not the whole frame."""
    pairs = []
    for number in range(4):
        labels = np.zeros((64, 64), np.uint8)
        labels[16:48][lesion(number)[16:48] > 0] = 1
        labels[28:36, 20 + 4 * number : 30 + 4 * number] = 2
        pair = Pair(f"a{number}", f"images/a{number}.png", f"masks/a{number}.png", "train", "real")
        pair = replace(pair, box="0 16 64 32", classes="polyp|tool")
        write_image(tmp_path / "odd" / pair.image, np.zeros((64, 64, 3), np.uint8))
        write_mask(tmp_path / "odd" / pair.mask, labels, classes=2)
        pairs.append(complete(tmp_path / "odd", pair))
    return write_manifest(tmp_path / "odd", pairs)


def test_classes_stay_exact_and_padding_stays_empty(odd_set, tmp_path):
    write_masks(odd_set, "random", row(), tmp_path / "out")
    changed = 0
    for copy in (1, 2, 3):
        masks = read_pairs(tmp_path / "out" / str(copy))
        for pair, parent in zip(masks.pairs, odd_set.pairs, strict=True):
            labels = masks.labels(pair)
            assert set(np.unique(labels)) == {0, 1, 2}
            assert np.count_nonzero(labels) == np.count_nonzero(content(pair, labels))
            assert content(pair, labels).shape == (32, 64)
            assert set(np.unique(masks.hint(pair))) == {0, 0.5, 1}
            changed += not np.array_equal(labels, odd_set.labels(parent))
    assert changed > 6
