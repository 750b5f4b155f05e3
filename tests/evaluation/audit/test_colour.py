"""Colour statistics against known colours, and drift that means the same for any data set."""

import numpy as np
import pytest

from evaluation.audit.colour import (
    BINS,
    RANGES,
    colour_drift,
    colour_shift,
    histogram_distance,
    lab_statistics,
    set_histogram,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(rng, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Lab means and sds of n images of one source, correlated as in photographs."""
    light = rng.normal(size=(n, 1))
    mean = np.array([50.0, 20.0, 15.0]) + light * [10, 3, 2] + rng.normal(size=(n, 3)) * [2, 3, 1]
    return mean, np.exp(np.log([15.0, 6.0, 5.0]) + 0.2 * rng.normal(size=(n, 3)))


def test_known_colours() -> None:
    colours = [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]]
    images = np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (4, 8, 8, 3))
    found = lab_statistics(images)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]  # sRGB, D65
    np.testing.assert_allclose(found.mean, expected, atol=0.3)
    np.testing.assert_allclose(found.sd, 0, atol=1e-4)


def test_all_pixels_of_srgb_are_counted(rng) -> None:
    images = rng.choice(np.array([0, 255], np.uint8), (5, 16, 16, 3))
    found = lab_statistics(images)
    assert found.histogram.shape == (5, 3, BINS)
    assert (found.histogram.sum(2) == 256).all()
    np.testing.assert_allclose(set_histogram(found.histogram).sum(1), 1)


@pytest.mark.parametrize("n", [20, 60, 500])
def test_few_fresh_images_drift_above_one(rng, n: int) -> None:
    rates = [(colour_drift(*drawn(rng, n), *drawn(rng, 400)) > 1).mean() for _ in range(8)]
    assert 0.005 < np.mean(rates) < 0.1


def test_drift_grows_with_the_shift_and_sees_what_single_channels_hide(rng) -> None:
    train = drawn(rng, 200)
    mean, sd = drawn(rng, 50)
    drifts = [np.median(colour_drift(*train, mean + np.array([0, shift, 0]), sd)) for shift in (0, 5, 10, 20)]
    assert drifts == sorted(drifts)
    assert drifts[0] < 1 < drifts[-1]
    # lighter and less red at once: each is usual, both together are not
    usual_and_odd = train[0].mean(0) + np.array([[12, 4, 2.4], [12, -4, -2.4]])
    both = colour_drift(*train, usual_and_odd, np.tile(np.exp(np.log(train[1]).mean(0)), (2, 1)))
    assert both[0] < 1 < both[1]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
def test_few_training_images_give_finite_drift(rng, n: int) -> None:
    mean, sd = drawn(rng, n)
    found = colour_drift(mean, sd, np.concatenate([mean, mean + 60]), np.concatenate([sd, sd]))
    assert np.isfinite(found).all()
    assert (found[:n] <= 1.2).all()
    assert found[n:].mean() > found[:n].mean()


def test_equal_training_images_do_not_divide_by_zero(rng) -> None:
    mean, sd = (np.repeat(part, 12, axis=0) for part in drawn(rng, 1))
    found = colour_drift(mean, sd, np.stack([mean[0], mean[0] + 0.5, mean[0] + 30]), sd[:3])
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[1] < 1 < found[2]


def test_a_black_image_drifts(rng, draw) -> None:
    train = lab_statistics(draw(30, 0)[0])
    black = lab_statistics(np.zeros((1, 64, 64, 3), np.uint8))
    assert colour_drift(train.mean, train.sd, black.mean, black.sd)[0] > 3


def test_shift_is_the_distance_of_the_means() -> None:
    assert colour_shift(np.array([[50.0, 0, 0], [60, 0, 0]]), np.array([[55.0, 3, 4]])) == pytest.approx(5)


def test_histograms_moved_by_whole_bins_are_that_far_apart(rng) -> None:
    one = np.zeros((4, 3, BINS), np.int32)
    one[:, :, 40:50] = rng.integers(1, 9, (4, 3, 10))
    found = histogram_distance(one, np.roll(one, 5, axis=2))
    np.testing.assert_allclose(found, [5 * (high - low) / BINS for low, high in RANGES])
    np.testing.assert_allclose(histogram_distance(one, one[::-1]), 0, atol=1e-12)
