"""Augmented pairs: as many as asked for, image and mask moved alike, the same for everybody, nothing cut or empty."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from data.baselines.augmented import apply_changes, augment, write_augmented
from data.baselines.config import Augment, Baseline
from data.exports.verify import verify
from data.masks.moves import draw_moves
from data.pairs.files import sha256_file, sha256_tree
from data.pairs.manifest import PairSet, content
from tests.data.pairs.real_pairs import disk, phantoms, plain, write_set

MOVES = [
    {"name": "flip"},
    {"name": "rotate", "degrees": (-40.0, 40.0)},
    {"name": "scale", "factor": (0.7, 1.4)},
    {"name": "shift", "most": 0.2},
    {"name": "elastic", "strength": 0.02, "smoothness": 0.1},
]
COLOURS = [
    {"name": "brightness_contrast", "most": 0.3},
    {"name": "hue_saturation", "hue": 0.1, "saturation": 0.3},
    {"name": "blur", "sigma_px": (0.5, 1.0)},
    {"name": "noise", "std": (0.01, 0.03)},
]


def row(transforms=(*MOVES, *COLOURS), **more) -> Augment:
    return Augment.model_validate({"kind": "augment", "transforms": tuple(transforms), **more})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["black", "reflect"]))
def test_the_mask_moves_with_the_image(seed, border):
    """The lesion is the only bright thing of the image: where it goes the mask must follow, wherever that is."""
    mask = disk(20, 36, 11) | disk(45, 18, 7)
    image = np.repeat(mask[..., None] * np.uint8(200), 3, 2)
    moves = draw_moves(row(MOVES).transforms, np.random.default_rng(seed))
    moved, labels, _ = apply_changes(image, mask, moves, border)
    bright = moved[..., 0] > 100
    assert np.count_nonzero(bright != labels.astype(bool)) <= 0.02 * mask.size
    assert np.count_nonzero(bright & (labels > 0)) >= 0.9 * labels.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(MOVES[:4], 0.75), (MOVES, 1.5)]))
def test_each_pixel_of_the_mask_comes_from_where_the_image_comes_from(seed, chosen):
    """An image of coordinates tells where each pixel was: that place of the old mask is what the new mask says.

    Each of the two steps, affine and elastic, takes the nearest pixel of the mask: at most half a pixel's diagonal off.
    """
    transforms, off_px = chosen
    ys, xs = np.mgrid[:64, :64]
    mask = disk(30, 30, 12)
    image = np.stack([xs * 4, ys * 4, np.full_like(xs, 255)], -1).astype(np.uint8)
    moves = draw_moves(row(transforms).transforms, np.random.default_rng(seed))
    moved, labels, _ = apply_changes(image, mask, moves, "black")
    inside = moved[..., 2] > 250  # no black has come in
    away = np.hypot(moved[..., 0] / 4 - 30, moved[..., 1] / 4 - 30)
    assert (away[inside & (labels > 0)] <= 12 + off_px).all()
    assert (away[inside & (labels == 0)] >= 12 - off_px).all()


def test_every_move_does_what_its_name_says():
    mask = disk(20, 40, 9) | disk(50, 12, 4)
    image = np.random.default_rng(0).integers(1, 255, (64, 64, 3)).astype(np.uint8)

    def moved(name, **values):
        return apply_changes(image, mask, [{"name": name, **values}], "black")[:2]

    for (found, labels), expected in (
        (moved("flip", x=True, y=False), lambda array: array[:, ::-1]),
        (moved("rotate", degrees=90.0), np.rot90),  # against the clock
        (moved("shift", x=0.125, y=0.0), lambda array: np.pad(array, ((0, 0), (8, 0), (0, 0))[: array.ndim])[:, :64]),
    ):
        assert np.array_equal(found, expected(image))
        assert np.array_equal(labels, expected(mask))
    assert moved("scale", factor=0.5)[1].sum() == pytest.approx(mask.sum() / 4, rel=0.1)


def test_classes_are_never_mixed():
    labels = disk(30, 30, 12) * np.uint8(2)
    labels[disk(34, 30, 4) > 0] = 5
    for entry in (MOVES[1], MOVES[4]):
        for seed in range(5):
            moves = draw_moves(row([entry]).transforms, np.random.default_rng(seed))
            _, moved, _ = apply_changes(plain((90, 60, 60)), labels, moves, "black")
            assert set(np.unique(moved)) == {0, 2, 5}


def test_every_colour_changes_the_image_and_no_mask():
    mask = disk(30, 30, 12)
    image = np.random.default_rng(0).integers(60, 180, (64, 64, 3)).astype(np.uint8)
    for entry in COLOURS:
        made = augment(image, mask, row([entry]), np.random.default_rng(1))
        assert np.array_equal(made.labels, mask), entry
        assert not np.array_equal(made.image, image), entry
    grey = plain((100, 100, 100))
    light = augment(grey, mask, row([{"name": "brightness_contrast", "most": 0.3}]), np.random.default_rng(1))
    assert light.image.mean() == pytest.approx(100 * light.moves[0]["brightness"], abs=1.5)
    noisy = augment(grey, mask, row([{"name": "noise", "std": (0.02, 0.02)}]), np.random.default_rng(1))
    assert noisy.image.astype(float).std() == pytest.approx(0.02 * 255, rel=0.1)


def test_what_leaves_the_frame_is_counted_and_refused():
    mask = disk(52, 32, 8)
    image = plain((90, 60, 60))
    right = {"name": "shift", "x": 0.25, "y": 0.0}
    _, labels, lost = apply_changes(image, mask, [right], "black")
    assert lost == pytest.approx(1 - labels.sum() / mask.sum())
    assert lost > 0.5
    _, mirrored, same = apply_changes(image, mask, [right], "reflect")
    assert same == lost
    assert np.array_equal(mirrored, labels)
    left = disk(8, 32, 6)
    _, mirrored, lost = apply_changes(image, left, [right], "reflect")
    assert mirrored.sum() > left.sum()  # a mirrored lesion has come in, and is no excuse for a lost one
    assert lost == 0
    assert apply_changes(image, mask, [{**right, "x": 0.5}], "black")[2] == 1
    for seed in range(20):
        limits = row([{"name": "shift", "most": 0.4}], constraints={"area": (0.001, 1.0), "lost": 0.05}, attempts=30)
        made = augment(image, mask, limits, np.random.default_rng(seed))
        assert made.labels.sum() >= 0.95 * mask.sum()
        assert set(made.rejected) <= {"lost", "area"}


def test_a_pair_that_can_go_nowhere_keeps_its_place():
    mask = disk(32, 32, 10)
    limits = row([{"name": "flip", "probability": 1.0}, {"name": "scale", "factor": (0.1, 0.1)}],
                 constraints={"area": (0.05, 1.0)}, attempts=3)  # fmt: skip
    made = augment(plain((90, 60, 60)), mask, limits, np.random.default_rng(0))
    assert made.rejected == {"area": 3}
    assert np.array_equal(made.labels, mask[::-1, ::-1])


def test_pairs_without_lesion_stay_without():
    empty = np.zeros((64, 64), np.uint8)
    made = augment(plain((90, 60, 60)), empty, row(), np.random.default_rng(0))
    assert not made.labels.any()
    assert made.rejected.total() == 0


def test_a_set_is_whole_named_and_the_same_whatever_the_order_and_the_number_of_copies(tmp_path):
    real = phantoms(tmp_path / "real")["train"]
    once = write_augmented(real, "classic", row(), tmp_path / "once")
    verify(once)
    assert len(once) == len(real)
    for pair in once.pairs:
        assert pair.id == f"{pair.parent}-classic-1"
        assert (pair.source, pair.donor, pair.split) == ("classic", "", "train")
        assert int(pair.seed) > 0
        assert pair.foreground > 0
    assert len({pair.seed for pair in once.pairs}) == len(real)
    assert {pair.parent for pair in once.pairs} == {pair.id for pair in real.pairs}
    turned = PairSet(real.folder, real.pairs[::-1])
    write_augmented(turned, "classic", row(), tmp_path / "turned")
    assert sha256_tree(tmp_path / "once" / "images") == sha256_tree(tmp_path / "turned" / "images")
    assert (once.folder / "manifest.csv").read_bytes() == (tmp_path / "turned/manifest.csv").read_bytes()
    twice = write_augmented(real, "classic", row(copies=2), tmp_path / "twice")
    assert len(twice) == 2 * len(real)
    assert len({pair.image_sha256 for pair in twice.pairs} | {p.image_sha256 for p in real.pairs}) == 3 * len(real)
    for pair in once.pairs:
        assert sha256_file(tmp_path / "twice" / pair.image) == pair.image_sha256
    other = write_augmented(real, "classic", row(seed=1), tmp_path / "other")
    assert not {pair.image_sha256 for pair in other.pairs} & {pair.image_sha256 for pair in once.pairs}
    lines = list(csv.DictReader((once.folder / "provenance.csv").open()))
    assert [line["parent"] for line in lines] == [pair.id for pair in real.pairs]
    assert "rotate" in lines[0]["moves"]


def test_padding_takes_no_part(tmp_path):
    framed = np.zeros((64, 64, 3), np.uint8)
    framed[16:48] = 150
    real = write_set(tmp_path / "real", {"a": (framed, disk(32, 32, 8))}, box="0 16 64 32")
    made = write_augmented(real, "classic", row(MOVES, border="reflect", copies=5), tmp_path / "out")
    for pair in made.pairs:
        image = made.image(pair)
        assert not image[:16].any()
        assert not image[48:].any()
        assert content(pair, image).mean() == pytest.approx(150, abs=1)


@pytest.mark.parametrize(
    "change",
    [
        {"transforms": ()},
        {"transforms": ({"name": "swap"},)},
        {"transforms": ({"name": "blur", "sigma_px": (2.0, 1.0)},)},
        {"copies": 0},
        {"borders": "black"},
    ],
)
def test_rows_that_make_no_sense_are_refused(change):
    with pytest.raises(ValidationError):
        TypeAdapter(Baseline).validate_python({"kind": "augment", "transforms": ({"name": "flip"},), **change})
