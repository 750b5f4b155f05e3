"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of features."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

WORKING_MEMORY_MIB = 64  # of one block of distances
PRDC_TEXT = {
    "precision": "Share of synthetic images inside a ball around any real one that reaches to its k-th nearest real "
    "neighbour.",
    "recall": "Share of real images inside a ball around any synthetic one that reaches to its k-th nearest synthetic "
    "one.",
    "density": "Mean number of real balls around a synthetic image, over k; 1 when the sets are alike, and it may be "
    "more.",
    "coverage": "Share of real balls that hold at least one synthetic image; it depends on the numbers, so equal ones "
    "count.",
}


class Prdc(NamedTuple):
    """Precision, recall and coverage are in [0, 1], density is at least 0; all None where `reason` says why."""

    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    reason: str | None = None


def prdc(real: np.ndarray, synthetic: np.ndarray, k: int = 5) -> Prdc:
    """Return the four scores of features (N, d) and (M, d), computed in float64 and in blocks of bounded memory.

    They are fair only between sets of one size: see `equal_counts`.

    >>> scores = prdc(np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [0.6], [9.0]]), k=1)
    >>> [round(score, 3) for score in scores[:4]]
    [0.667, 0.667, 1.333, 0.667]
    """
    fewest = min(len(real), len(synthetic))
    if fewest <= k:
        return Prdc(None, None, None, None, f"needs more than k = {k} images in each set, got {fewest}")
    real, synthetic = real.astype(np.float64), synthetic.astype(np.float64)
    real_radius, synthetic_radius = _radii(real, k), _radii(synthetic, k)
    inside = np.zeros(len(synthetic))  # real balls around each synthetic image
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    start = 0
    for distances in _distances(real, synthetic):
        rows = slice(start, start := start + len(distances))
        in_real = distances < real_radius[rows, None]
        inside += in_real.sum(0)
        covered[rows] = in_real.any(1)
        recalled[rows] = (distances < synthetic_radius).any(1)
    return Prdc(
        precision=float((inside > 0).mean()),
        recall=float(recalled.mean()),
        density=float(inside.mean() / k),
        coverage=float(covered.mean()),
    )


def equal_counts(
    n_real: int, n_synthetic: int, rng: np.random.Generator, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted indices into both sets, drawn without replacement: as many as the smaller one holds, or `most`."""
    n = min(n_real, n_synthetic, *([] if most is None else [most]))
    real, synthetic = (np.sort(rng.choice(size, n, replace=False)) for size in (n_real, n_synthetic))
    return real, synthetic


def _distances(a: np.ndarray, b: np.ndarray | None = None) -> Iterator[np.ndarray]:
    from sklearn.metrics import pairwise_distances_chunked

    return pairwise_distances_chunked(a, b, working_memory=WORKING_MEMORY_MIB)


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each point to its k-th nearest other one, (N,)."""
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in _distances(features)])
