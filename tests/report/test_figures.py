"""Figures show the pairs and curves that they were given, and are the same bytes every time."""

import cv2
import numpy as np
import pytest
from PIL import Image

from data.drawing import COLOURS, GAP_PX, HEADER_PX, MADE, line, outlined
from data.pairs.manifest import PairSet
from evaluation.figures.curves import volume_curve
from evaluation.figures.plots import Looks
from evaluation.figures.sheets import pair_grid
from evaluation.results.comparison import volume_series
from evaluation.results.results import read_runs

CELL, LOOKS = 192, Looks(("controlnet-wc05", "siamese"), ("real", "random"))


def cell_of(sheet, row, column):
    """Return one picture of a grid as an array."""
    top = GAP_PX + HEADER_PX + row * (CELL + GAP_PX + HEADER_PX)
    left = GAP_PX + column * (CELL + GAP_PX)
    return np.asarray(sheet)[top : top + CELL, left : left + CELL]


def test_a_grid_shows_parent_mask_and_synthetic_image(tree, tmp_path):
    real, synthetic = tree.samples["phantom", "siamese", "random"]
    pair_grid(real, synthetic, tmp_path / "a.png", rows=3)
    sheet = Image.open(tmp_path / "a.png")
    for row, pick in enumerate((0, 6, 11)):
        pair, parent = synthetic.pairs[pick], real.pairs[pick]
        shown = [cell_of(sheet, row, column)[1::3, 1::3].astype(int) for column in range(4)]
        assert np.abs(shown[0] - real.image(parent)).mean() < 8
        assert np.array_equal(shown[1][..., 0], synthetic.mask(pair) * 255)
        assert np.abs(shown[2] - synthetic.image(pair)).mean() < 8
        drawn = np.abs(cell_of(sheet, row, 3).astype(int) - cell_of(sheet, row, 2)).max(axis=2) > 60
        mask = np.kron(synthetic.mask(pair), np.ones((3, 3), np.uint8))
        from_edge_px = cv2.distanceTransform(mask, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
        # The line is 4 px wide with a soft edge, and smoothing rounds off tips of one image pixel, which is 3 px here.
        assert from_edge_px[drawn].max() < 6
        assert from_edge_px[drawn].mean() < 2.5
        assert drawn[from_edge_px <= 1].mean() > 0.95


def test_a_parent_that_is_not_there_leaves_a_plain_field(tree, tmp_path):
    real, synthetic = tree.samples["phantom", "siamese", "random"]
    pair_grid(PairSet(real.folder, real.pairs[1:]), synthetic, tmp_path / "a.png", rows=2)
    sheet = Image.open(tmp_path / "a.png")
    assert np.ptp(cell_of(sheet, 0, 0)) < 5
    assert np.ptp(cell_of(sheet, 1, 0)) > 50


def test_few_pairs_make_few_rows(tree, tmp_path):
    real, synthetic = tree.samples["phantom", "siamese", "random"]
    pair_grid(real, PairSet(synthetic.folder, synthetic.pairs[:2]), tmp_path / "a.png", rows=8)
    assert Image.open(tmp_path / "a.png").height == GAP_PX + HEADER_PX + 2 * (CELL + GAP_PX + HEADER_PX)


def test_an_empty_mask_has_no_outline_and_the_input_is_kept():
    image = np.full((32, 32, 3), 90, np.uint8)
    assert np.array_equal(outlined(image, np.zeros((32, 32), bool), line("mask")), image)
    mask = np.zeros((32, 32), bool)
    mask[8:20, 8:20] = True
    assert not np.array_equal(outlined(image, mask, line("mask")), image)
    assert (image == 90).all()


@pytest.mark.heavy
def test_figures_are_the_same_bytes_twice(tree, tmp_path):
    series = {key: points for key, points in volume_series(read_runs(tree.root)).items() if key[0] == "phantom"}
    for name in ("a", "b"):
        volume_curve(series, LOOKS, tmp_path / f"{name}/curve.svg")
        pair_grid(*tree.samples["phantom", "siamese", "random"], tmp_path / f"{name}/grid.png")
    for kind in ("curve.svg", "grid.png"):
        assert (tmp_path / "a" / kind).read_bytes() == (tmp_path / "b" / kind).read_bytes()


def test_a_curve_has_one_panel_an_architecture(tree, tmp_path):
    series = {key: points for key, points in volume_series(read_runs(tree.root)).items() if key[0] == "phantom"}
    volume_curve(series, LOOKS, tmp_path / "two.png")
    volume_curve({key: points for key, points in series.items() if key[1] == "unet"}, LOOKS, tmp_path / "one.png")
    two, one = (Image.open(tmp_path / name).width for name in ("two.png", "one.png"))
    assert two > 1.7 * one


def test_a_colour_has_one_meaning():
    looks = Looks(["real", "duplicate", "pasted", "a", "b", "a"], ["real", "random", "drawn", "random"])
    names = ("real", "duplicate", "pasted", "a", "b", "of no list")
    colours = [looks.colour(name) for name in names]
    assert colours == [COLOURS["real"], COLOURS["duplicate"], *MADE[:4]]
    assert len({*COLOURS.values(), *MADE}) == len(COLOURS) + len(MADE)
    assert len({looks.marker(name) for name in names[1:]}) == 5
    assert [looks.line(masks) for masks in ("real", "random", "drawn")] == ["-", "--", ":"]
    fewer = Looks(["pasted", "a", "b"], ["random"])  # as the pictures stage has them: real pairs are no source of it
    assert [fewer.colour(name) for name in names] == colours
