"""Precision, recall, density and coverage against the authors' package, and by hand."""

import numpy as np
import pytest
from prdc import compute_prdc

from evaluation.scores import prdc as module
from evaluation.scores.prdc import equal_counts, prdc


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("n", "m", "k"), [(60, 60, 5), (40, 70, 3), (90, 30, 1)])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_equal_to_the_authors_package(rng, n: int, m: int, k: int, shift: float) -> None:
    real = rng.normal(size=(n, 8)).astype(np.float32)
    synthetic = (0.8 * rng.normal(size=(m, 8)) + shift).astype(np.float32)
    theirs = compute_prdc(real.astype(np.float64), synthetic.astype(np.float64), nearest_k=k)
    ours = prdc(real, synthetic, k)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-12)


def test_blocks_do_not_matter(rng, monkeypatch) -> None:
    real, synthetic = rng.normal(size=(50, 4)), rng.normal(size=(40, 4))
    whole = prdc(real, synthetic)
    monkeypatch.setattr(module, "WORKING_MEMORY_MIB", 4e-4)  # a single row of 50 distances
    assert prdc(real, synthetic) == whole


def test_copies_are_perfect(rng) -> None:
    real = rng.normal(size=(80, 16))
    assert prdc(real, real.copy()) == pytest.approx((1, 1, 1, 1, None))


def test_collapse_is_precise_and_recalls_little(rng) -> None:
    real = rng.normal(size=(100, 8))
    collapsed = np.repeat(real[:2], 50, axis=0) + 1e-6 * rng.normal(size=(100, 8))
    found = prdc(real, collapsed)
    assert found.precision == 1
    assert found.recall == 0.02  # the two that were copied
    assert found.coverage < 0.5


def test_by_hand_on_a_line() -> None:
    real = np.array([[0.0], [1.0], [3.0]])  # with k = 1 the balls have the radii 1, 1 and 2
    synthetic = np.array([[0.5], [2.5], [9.0]])  # radii 2, 2, 6.5
    assert prdc(real, synthetic, 1) == pytest.approx((2 / 3, 1, 1, 1, None))


def test_too_few_images(rng) -> None:
    found = prdc(rng.normal(size=(5, 3)), rng.normal(size=(50, 3)))
    assert found.precision is None
    assert "got 5" in found.reason


def test_equal_counts(rng) -> None:
    real, synthetic = equal_counts(30, 10, rng)
    assert len(real) == len(synthetic) == 10
    assert len(set(real)) == 10
    assert real.max() < 30
    np.testing.assert_array_equal(synthetic, np.arange(10))


def test_fewer_than_both_hold_are_drawn_at_random_and_are_not_the_first(rng) -> None:
    real, synthetic = equal_counts(200, 300, rng, 30)
    assert len(real) == len(synthetic) == 30
    assert real.max() > 100
    assert synthetic.max() > 150
    assert set(equal_counts(5, 9, rng, 30)[0]) == set(range(5))
