"""Drawn lesions: sizes, places, numbers and outlines are those of the data set, and nothing else is."""

import csv
import json

import numpy as np
import pytest

from data.masks.config import Constraints, ShapesMasks
from data.masks.constraints import touches_border
from data.masks.masks import write_masks
from data.masks.shapes import draw, lesions_of, measured, models_of
from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.manifest import content, read_pairs
from data.prepare.phantom import coverage, outline
from tests.data.masks.sets import blobs, write_set

COUNT = 60
# of two samples of 60: the chance that they differ by more is under 1 %
MOST = 1.63 * np.sqrt(2 / COUNT)


def phantom_mask(seed: int) -> np.ndarray:
    """Return the mask of a phantom, without its image."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(0.13, 0.27)
    center = tuple(rng.uniform(1.25 * radius, 1 - 1.25 * radius, 2))
    return (coverage(outline(rng, 48, radius, center), 48) > 0.5).astype(np.uint8)


def ks(first, second) -> float:
    """Return the largest distance of the distribution functions of two samples."""
    both = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(part), both, side="right") / len(part) for part in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def values(masks) -> dict[str, np.ndarray]:
    """Return what is compared of every lesion of some masks."""
    lesions = [lesion for labels in masks for lesion in lesions_of(labels)]
    return {
        "area": np.array([lesion.area for lesion in lesions]),
        "x": np.array([lesion.center[0] for lesion in lesions]),
        "y": np.array([lesion.center[1] for lesion in lesions]),
        "stretch": np.array([lesion.stretch for lesion in lesions]),
        "third wave": np.array([lesion.waves[1] for lesion in lesions]),
    }


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    masks = {f"p{number:03d}": phantom_mask(number) for number in range(COUNT)}
    return write_set(tmp_path_factory.mktemp("phantoms"), masks)


def test_sizes_places_and_outlines_are_distributed_as_in_the_data_set(phantoms):
    lesions = measured(phantoms, "drawn")
    real = values([phantoms.mask(pair) for pair in phantoms.pairs])
    drawn = [
        draw(lesions, model, (48, 48), np.random.default_rng(number)).labels
        for number, model in enumerate(models_of(lesions, 0, 1).values())
    ]
    made = values(drawn)
    assert {name: ks(real[name], made[name]) <= MOST for name in real} == dict.fromkeys(real, True)
    assert real["area"].min() * 0.9 < made["area"].min()
    assert made["area"].max() < 1.1 * real["area"].max()
    elsewhere = {"area": made["area"] * 1.5, "x": made["x"] + 0.15, "stretch": made["stretch"] + 0.3}
    assert all(ks(real[name], other) > MOST for name, other in elsewhere.items()), "the measure tells them apart"
    assert not any(np.array_equal(labels, phantoms.mask(pair)) for labels in drawn for pair in phantoms.pairs[:10])


def few() -> dict[str, np.ndarray]:
    """Return masks of one, two and three lesions, of one that the frame cuts, and of none."""
    one, two, three = (12, 14, 7, 5), (36, 34, 6, 8), (34, 10, 4, 4)
    masks = {"one": blobs(one), "two": blobs(one, two), "three": blobs(one, two, three)}
    return {**masks, "cut": blobs((0, 24, 14, 10)), "none": blobs()}


def test_numbers_and_borders_are_those_of_the_data_set(tmp_path):
    real = write_set(tmp_path / "real", few())
    counts = write_masks(real, "drawn", ShapesMasks(kind="shapes", copies=3, seed=4), tmp_path / "out")
    assert (counts["masks"], counts["without_lesion"], counts["only_flipped"]) == (15, 3, 0)
    for copy in (1, 2, 3):
        made = read_pairs(tmp_path / "out" / str(copy))
        numbers = sorted(len(lesions_of(made.mask(pair))) for pair in made.pairs)
        assert numbers == sorted(len(lesions_of(real.mask(pair))) for pair in real.pairs)
        assert [pair.id for pair in made.pairs if not pair.foreground] == [f"none-drawn-{copy}"]
        touching = [pair.id for pair in made.pairs if made.mask(pair)[:, 0].any()]
        assert len(touching) == 1
        assert {(pair.parent, pair.donor, pair.group) for pair in made.pairs if pair.foreground} == {("", "", "")}
        with (tmp_path / f"out/{copy}/provenance.csv").open() as file:
            moves = [json.loads(line["moves"]) for line in csv.DictReader(file) if float(line["area_after"])]
        assert sorted(move[0]["model"] for move in moves) == ["cut", "one", "three", "two"]


def test_a_lesion_that_the_frame_cuts_is_cut_again(tmp_path):
    mask = few()["cut"]
    [own] = lesions_of(mask)
    lesions = measured(write_set(tmp_path, {"cut": mask}), "drawn")
    drawn = draw(lesions, "cut", mask.shape, np.random.default_rng(1))
    [made] = lesions_of(drawn.labels)
    assert made.area == pytest.approx(own.area, rel=0.05)
    assert made.center == pytest.approx(own.center, abs=0.02)
    assert touches_border(drawn.labels)
    assert drawn.lost > 0.05
    assert not np.array_equal(drawn.labels, mask)


def test_a_mask_depends_on_its_copy_and_place_alone(tmp_path):
    real = write_set(tmp_path / "real", few())
    for name, copies in (("two", 2), ("three", 3)):
        write_masks(real, "drawn", ShapesMasks(kind="shapes", copies=copies, seed=0), tmp_path / name)
    for copy in ("1", "2"):
        assert sha256_tree(tmp_path / "two" / copy) == sha256_tree(tmp_path / "three" / copy)
    assert sha256_tree(tmp_path / "two/1/masks") != sha256_tree(tmp_path / "two/2/masks")
    write_masks(real, "drawn", ShapesMasks(kind="shapes", copies=1, seed=1), tmp_path / "other")
    assert sha256_tree(tmp_path / "two/1/masks") != sha256_tree(tmp_path / "other/1/masks")


def test_constraints_hold_and_what_cannot_be_is_a_flipped_real_mask(tmp_path):
    real = write_set(tmp_path / "real", few())
    row = ShapesMasks(kind="shapes", copies=2, seed=0, constraints=Constraints(area=(1e-6, 1), border="never"))
    write_masks(real, "drawn", row, tmp_path / "out")
    made = read_pairs(tmp_path / "out/1")
    assert not any(touches_border(made.mask(pair)) for pair in made.pairs if not pair.parent)
    row = row.model_copy(update={"constraints": Constraints(area=(0.9, 0.95)), "attempts": 2})
    counts = write_masks(real, "drawn", row, tmp_path / "large")
    assert counts["rejected_draws"] == {"all": 16, "area": 16}
    assert counts["only_flipped"] == 8
    made = read_pairs(tmp_path / "large/2")
    masks = {pair.id: real.mask(pair) for pair in real.pairs}
    assert sorted(pair.parent for pair in made.pairs if pair.foreground) == ["cut", "one", "three", "two"]
    assert all(np.array_equal(made.mask(p), masks[p.parent][:, ::-1]) for p in made.pairs if p.parent)


def test_padding_stays_empty(tmp_path):
    labels = blobs((24, 24, 9, 6))
    real = write_set(tmp_path / "real", {"a": labels, "b": labels}, box="0 12 48 24")
    write_masks(real, "drawn", ShapesMasks(kind="shapes", copies=2, seed=0), tmp_path / "out")
    for copy in ("1", "2"):
        made = read_pairs(tmp_path / "out" / copy)
        for pair in made.pairs:
            mask = made.mask(pair)
            assert mask.sum() == content(pair, mask).sum() > 0
            assert content(pair, mask).shape == (24, 48)


def test_what_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(UserError, match="no training mask has a lesion"):
        measured(write_set(tmp_path / "empty", {"a": blobs()}), "drawn")
    two = write_set(tmp_path / "two", {"a": blobs((20, 20, 5, 5))}, classes="polyp|tool")
    with pytest.raises(UserError, match=r"masks.drawn: shapes are of one class of lesion, not of polyp, tool"):
        measured(two, "drawn")
    dot = np.zeros((48, 48), np.uint8)
    dot[10, 10] = 1
    lesions = measured(write_set(tmp_path / "dot", {"a": dot}), "drawn")
    assert draw(lesions, "a", (48, 48), np.random.default_rng(0)).labels.sum() in (0, 1, 2, 3, 4)
