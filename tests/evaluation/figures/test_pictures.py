"""Pictures: the same input gives the same bytes, and what they show is what was asked for."""

import csv

import numpy as np
import pytest
from PIL import Image

from evaluation.audit.colour import lab_statistics, set_histogram
from evaluation.audit.thumbnails import symmetries
from evaluation.figures.distributions import draw_colour, draw_tsne, tsne
from evaluation.figures.plots import Looks, draw_reason
from evaluation.figures.sheets import copy_sheet, turned_like

SETS, LOOKS = {"a": ("x", "real"), "b": ("x", "random"), "s": ("y", "real")}, Looks(["x", "y"], ["real", "random"])


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return {
        "real": rng.normal(size=(20, 8)),
        "siamese": rng.normal(size=(16, 8)) + 6,
        "controlnet": rng.random((30, 8)),
    }


def size_of(path):
    with Image.open(path) as picture:
        picture.load()
        assert "Software" not in picture.info
        return picture.size


def test_the_map_has_equal_sets_is_repeatable_and_separates_what_is_apart(sets) -> None:
    places, caption = tsne(sets, 1)
    assert {name: found.shape for name, found in places.items()} == dict.fromkeys(sets, (16, 2))
    for name, again in tsne(sets, 1)[0].items():
        np.testing.assert_array_equal(again, places[name])
    assert "perplexity 15.6667" in caption
    assert "16 images a set" in caption
    inside = np.linalg.norm(places["siamese"] - places["siamese"].mean(0), axis=1)
    assert np.linalg.norm(places["real"] - places["siamese"].mean(0), axis=1).min() > np.median(inside)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_map_of_few_points(count) -> None:
    rng = np.random.default_rng(count)
    places, _ = tsne({"real": rng.normal(size=(count, 6)), "siamese": rng.normal(size=(count, 6))}, 0)
    assert all(np.isfinite(found).all() and found.shape == (count, 2) for found in places.values())


def test_a_picture_that_cannot_be_drawn_says_why(tmp_path) -> None:
    draw_reason("No map: too few images.", tmp_path / "a.png")
    draw_reason("No map: too few images.", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert size_of(tmp_path / "a.png")[1] > 100


def test_the_drawn_map_and_its_table(tmp_path) -> None:
    places = {name: np.random.default_rng(seed).normal(size=(9, 2)) for seed, name in enumerate(("real", "a", "b"))}
    draw_tsne(places, SETS, LOOKS, tmp_path / "one.png", "how it was made")
    draw_tsne(places, SETS, LOOKS, tmp_path / "two.png", "how it was made")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    draw_tsne({"real": places["real"]}, SETS, LOOKS, tmp_path / "alone.png", "")
    assert size_of(tmp_path / "one.png")[0] > size_of(tmp_path / "alone.png")[0]
    with (tmp_path / "one.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["set"] for row in rows] == ["real"] * 9 + ["a"] * 9 + ["b"] * 9
    assert float(rows[9]["x"]) == pytest.approx(places["a"][0, 0], abs=1e-4)


def test_colour_histograms_are_drawn_the_same_twice(tmp_path, draw) -> None:
    histograms = {name: set_histogram(lab_statistics(draw(3, seed)[0]).histogram) for seed, name in enumerate("rs")}
    for name in ("one.png", "two.png"):
        draw_colour(histograms, SETS, LOOKS, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    draw_colour({"r": histograms["r"]}, SETS, LOOKS, tmp_path / "alone.png")
    assert (tmp_path / "alone.png").read_bytes() != (tmp_path / "one.png").read_bytes()


def test_every_turn_is_turned_back(draw) -> None:
    image = draw(1, 0)[0]
    for view in symmetries(image):
        np.testing.assert_array_equal(turned_like(np.ascontiguousarray(view[0]), image[0]), image[0])


def rows_of(pairs, nearest, distances):
    rows = zip(pairs.pairs, nearest, distances, strict=True)
    return [
        {"id": pair.id, "nearest": twin, "copy_distance": str(far), "copy": str(far < 0.2)} for pair, twin, far in rows
    ]


def test_the_sheet_shows_the_nearest_first_beside_its_turned_twin(tmp_path, draw, save) -> None:
    images, masks = draw(6, 0)
    train = save(tmp_path / "train", images[:3], masks[:3], "r")
    synthetic = save(tmp_path / "synthetic", np.rot90(images[:3], 1, (1, 2)).copy(), masks[:3], "s")
    nearest = [train.pairs[0].id, train.pairs[1].id, "lost"]
    rows = rows_of(synthetic, nearest, [0.5, 0.1, 0.9])
    copy_sheet(rows, train, synthetic, tmp_path / "sheet.png")
    copy_sheet(rows[::-1], train, synthetic, tmp_path / "again.png")
    assert (tmp_path / "sheet.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    left, right = pixels[6:134, 6:134], pixels[6:134, 140:268]
    np.testing.assert_array_equal(left, right)  # the copy, and its original turned as the copy is
    first = Image.fromarray(synthetic.image(synthetic.pairs[1])).resize((128, 128), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(left, np.asarray(first))
    copy_sheet(rows, train, synthetic, tmp_path / "top.png", top=1)
    assert size_of(tmp_path / "top.png")[0] < sheet.size[0]
