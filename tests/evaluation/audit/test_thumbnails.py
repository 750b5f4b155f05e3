"""Thumbnails and the tiles that the copy audit compares."""

import numpy as np
import pytest

from evaluation.audit.thumbnails import WINDOWS, middles, symmetries, thumbnails, windows


def test_thumbnails_are_means_over_areas_at_any_size(draw) -> None:
    images = draw(3, 0)[0]
    means = images.reshape(3, 32, 2, 32, 2, 3).mean((2, 4))
    np.testing.assert_allclose(thumbnails(images), means, atol=0.1)
    for size in (32, 64, 100):
        small = thumbnails(draw(3, 0, size)[0])
        assert (small.shape, small.dtype) == ((3, 32, 32, 3), np.float16)


def test_tiles_are_standardised_by_channel(draw) -> None:
    tiles = list(windows(thumbnails(draw(3, 0)[0])))
    assert len(tiles) == len(WINDOWS) == len(set(WINDOWS))
    for each in tiles:
        assert each.dtype == np.float32
        np.testing.assert_allclose(each.mean((1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(each.std((1, 2)) * 768**0.5, 1, rtol=1e-4)


def test_the_middle_is_a_window_and_flat_images_have_empty_tiles(draw) -> None:
    small = thumbnails(draw(3, 0)[0])
    assert any((tiles == middles(small)).all() for tiles in windows(small))
    flat = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (0, 77, 255)])
    assert max(np.abs(tiles).max() for tiles in windows(thumbnails(flat))) < 1e-5


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_a_window_lies_where_it_says(number: int) -> None:
    """A bright spot shows in the tile where the window, moved and enlarged, has it."""
    side, down, right = WINDOWS[number]
    image = np.zeros((1, 320, 320, 3), np.uint8)
    image[:, 120:130, 190:200] = 255
    tile = list(windows(thumbnails(image)))[number][0, ..., 0]
    row, column = ((place / 320 - (0.5 + way - side / 2)) / side * 16 for place, way in ((125, down), (195, right)))
    bright = tile - np.median(tile)
    at = [(bright.sum(axis) * (np.arange(16) + 0.5)).sum() / bright.sum() for axis in (1, 0)]
    np.testing.assert_allclose(at, (row, column), atol=0.3)


def test_a_tile_does_not_depend_on_its_batch(draw) -> None:
    small = thumbnails(draw(9, 0)[0])
    for number, together in enumerate(windows(small)):
        alone = np.concatenate([list(windows(small[i : i + 1]))[number] for i in range(2)])
        np.testing.assert_array_equal(together[:2], alone)


def test_the_eight_symmetries_are_a_group() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3))
    views = {view.tobytes() for view in symmetries(image)}
    assert len(views) == 8
    assert all({again.tobytes() for again in symmetries(view)} == views for view in symmetries(image))
