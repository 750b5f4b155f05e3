"""The toolbox's other measures: closed forms, empty and full masks, and slow versions written from the papers."""

import math

import numpy as np
import pytest

from segmentation.measures.overlap import count_steps, stretch, to_8_bit
from segmentation.measures.saliency import e_measure_curve, mae, s_measure, weighted_f


def disc(size_px: int = 32, center: tuple[float, float] = (13, 17), radius: float = 7) -> np.ndarray:
    y, x = np.mgrid[:size_px, :size_px]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2


def e_curve(probability: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    return e_measure_curve(count_steps(to_8_bit(probability), lesion))


def noisy(seed: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a stretched map that follows a random rectangle loosely, and the rectangle."""
    rng = np.random.default_rng(seed)
    lesion = np.zeros(shape, bool)
    top, left = rng.integers(0, shape[0] - 3), rng.integers(0, shape[1] - 3)
    lesion[top : top + rng.integers(2, 9), left : left + rng.integers(2, 9)] = True
    return stretch(to_8_bit(np.clip(0.5 * lesion + rng.random(shape) * rng.uniform(0.2, 0.8), 0, 1))), lesion


def slow_e(probability: np.ndarray, lesion: np.ndarray, k: int) -> float:
    """Return Eq. 2-4 of Fan et al. 2018 pixel by pixel, on the map cut at k / 255."""
    found = (np.floor(stretch(to_8_bit(probability)) * 255 + 1e-9) >= k).astype(float)
    a, b = found - found.mean(), lesion - lesion.mean()
    align = [2 * i * j / (i * i + j * j) for i, j in zip(a.ravel(), b.ravel(), strict=True)]
    return sum((1 + value) ** 2 / 4 for value in align) / (lesion.size - 1)


def slow_s(stretched: np.ndarray, lesion: np.ndarray) -> float:
    """Return Eq. 5-12 of Fan et al. 2017 with alpha 0.5, by loops."""

    def object_score(values: list[float]) -> float:
        m = sum(values) / len(values)
        return 2 * m / (m * m + 1 + math.sqrt(sum((v - m) ** 2 for v in values) / (len(values) - 1)))

    inside = [float(v) for v, g in zip(stretched.ravel(), lesion.ravel(), strict=True) if g]
    outside = [1 - float(v) for v, g in zip(stretched.ravel(), lesion.ravel(), strict=True) if not g]
    share = len(inside) / lesion.size
    objects = share * object_score(inside) + (1 - share) * object_score(outside)
    height, width = lesion.shape
    points = [(r + 1, c + 1) for r in range(height) for c in range(width) if lesion[r, c]]
    row, column = (math.floor(sum(p[axis] for p in points) / len(points) + 0.5) for axis in (0, 1))
    regions = 0.0
    for rows in (range(row), range(row, height)):
        for columns in (range(column), range(column, width)):
            pixels = [(float(stretched[r, c]), float(lesion[r, c])) for r in rows for c in columns]
            mx, my = (sum(p[i] for p in pixels) / len(pixels) for i in (0, 1))
            sx, sy, sxy = (
                sum((p[i] - (mx, my)[i]) * (p[j] - (mx, my)[j]) for p in pixels) / (len(pixels) - 1)
                for i, j in ((0, 0), (1, 1), (0, 1))
            )
            below = (mx**2 + my**2) * (sx + sy)
            regions += len(pixels) / lesion.size * (4 * mx * my * sxy / below if below else 1)
    return max(0, (objects + regions) / 2)


def slow_f(stretched: np.ndarray, lesion: np.ndarray) -> float:
    """Return the weighted F of Margolin et al. 2014 by loops; of nearest pixels the first one."""
    height, width = lesion.shape
    error = np.abs(stretched - lesion)
    inside = np.argwhere(lesion)
    spread, distance = np.zeros(lesion.shape), np.zeros(lesion.shape)
    for r in range(height):
        for c in range(width):
            squares = ((inside - (r, c)) ** 2).sum(1)
            distance[r, c] = math.sqrt(squares.min())
            spread[r, c] = error[tuple(inside[squares.argmin()])]
    weights = np.array([[math.exp(-(i * i + j * j) / 50) for j in range(-3, 4)] for i in range(-3, 4)])
    padded = np.pad(spread, 3)
    smooth = np.array(
        [[(padded[r : r + 7, c : c + 7] * weights).sum() / weights.sum() for c in range(width)] for r in range(height)]
    )
    weighted = np.where(lesion, np.minimum(error, smooth), error * (2 - np.exp(math.log(0.5) / 5 * distance)))
    hits, false = lesion.sum() - weighted[lesion].sum(), weighted[~lesion].sum()
    recall, precision = 1 - weighted[lesion].mean(), hits / (hits + false)
    return 2 * recall * precision / (recall + precision)


def test_a_perfect_map():
    lesion = disc()
    probability, n = lesion.astype(float), lesion.size
    assert mae(probability, lesion) == 0
    assert s_measure(probability, lesion) == pytest.approx(1)
    assert weighted_f(probability, lesion) == pytest.approx(1)
    curve = e_curve(probability, lesion)
    np.testing.assert_allclose(curve[1:], n / (n - 1))
    assert curve[0] == pytest.approx(n / (n - 1) / 4)  # everything is found


def test_an_inverted_map():
    lesion = disc()
    inverted = 1.0 - lesion
    assert mae(inverted, lesion) == 1
    np.testing.assert_allclose(e_curve(inverted, lesion)[1:], 0, atol=1e-12)
    assert s_measure(inverted, lesion) < 0.25
    assert weighted_f(inverted, lesion) == pytest.approx(0, abs=1e-12)  # far from the border smoothing forgives nothing


@pytest.mark.parametrize("value", [0.0, 0.2, 1.0])
def test_masks_of_one_class(value):
    constant, n = np.full((6, 5), value), 30
    empty, full = np.zeros((6, 5), bool), np.ones((6, 5), bool)
    assert s_measure(constant, empty) == pytest.approx(1 - value)
    assert s_measure(constant, full) == pytest.approx(value)
    assert weighted_f(constant, empty) == 0
    assert mae(constant, full) == pytest.approx(1 - value)
    found = 255 * value + 1  # thresholds that everything reaches
    assert e_curve(constant, empty).mean() == pytest.approx((256 - found) / 256 * n / (n - 1))
    assert e_curve(constant, full).mean() == pytest.approx(found / 256 * n / (n - 1))


def test_weighted_f_of_a_full_mask_forgives_the_border():
    full = np.ones((20, 20), bool)
    assert weighted_f(np.ones((20, 20)), full) == 1
    assert 0 < weighted_f(np.zeros((20, 20)), full) < 0.5  # errors are smoothed with the zeros around the image


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_slow_versions(seed):
    stretched, lesion = noisy(seed, (17, 23))
    assert s_measure(stretched, lesion) == pytest.approx(slow_s(stretched, lesion), abs=1e-12)
    assert weighted_f(stretched, lesion) == pytest.approx(slow_f(stretched, lesion), abs=1e-12)
    curve = e_curve(stretched, lesion)
    for k in (0, 1, 90, 128, 255):
        assert curve[k] == pytest.approx(slow_e(stretched, lesion, k), abs=1e-12), k


def test_the_centre_is_rounded_half_up():
    """Rows 2 and 3 have the centre 2.5, so that four rows, not three, are the upper part."""
    lesion = np.zeros((8, 9), bool)
    lesion[2:4, 4] = True
    stretched = np.random.default_rng(0).random((8, 9))
    assert s_measure(stretched, lesion) == pytest.approx(slow_s(stretched, lesion), abs=1e-12)


def test_a_lesion_at_the_last_row_leaves_no_lower_part():
    lesion = np.zeros((6, 8), bool)
    lesion[5, 3:5] = True
    assert s_measure(lesion.astype(float), lesion) == pytest.approx(1)


def test_even_parts_agree_exactly():
    """Three of four parts hold one value and no lesion: rounding must not tell them from each other."""
    lesion = np.zeros((7, 7), bool)
    lesion[3, 3] = True
    for value in np.arange(1, 255) / 255:
        objects = (2 * value / (value**2 + 1) + 48 * 2 * (1 - value) / ((1 - value) ** 2 + 1)) / 49
        assert s_measure(np.full((7, 7), value), lesion) == pytest.approx((objects + 33 / 49) / 2, abs=1e-12)


def test_the_s_measure_is_not_below_0():
    lesion = disc(center=(15, 15), radius=12)
    opposite = np.where(lesion, 0.0, 1.0)
    opposite[::5, ::5] = 0.5  # no part is even
    assert s_measure(opposite, lesion) == 0
