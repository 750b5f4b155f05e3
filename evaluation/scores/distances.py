"""Distances between two sets of feature vectors, in float64. Rows are images; real comes before synthetic.

Nothing is clipped: an unbiased estimate near zero may be negative, and hiding that would bias it.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Kernel = Callable[[Array, Array], Array]

MIN_IMAGES = 3  # a jackknife leaves one out of an estimator that needs two


def frechet(real: Array, synthetic: Array) -> float:
    """Return the Frechet distance between the Gaussians fitted to (n, d) and (m, d), in squared feature units.

    |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Heusel et al. 2017). With a, b the centred features over the
    square roots of n - 1 and m - 1, the last trace is the nuclear norm of a b', which needs no matrix root and is exact
    for the singular covariances of sets with fewer images than dimensions.

    >>> round(frechet(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])), 6)  # equal variances, means 1 apart
    1.0
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    gap = x.mean(0) - y.mean(0)
    a = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    b = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    spread = (a**2).sum() + (b**2).sum()
    if min(len(a), len(b)) > a.shape[1]:
        a, b = np.linalg.qr(a, mode="r"), np.linalg.qr(b, mode="r")
    return float(gap @ gap + spread - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum())


def poly(a: Array, b: Array) -> Array:
    """Return the (n, m) kernel of KID, (a.b / d + 1)^3 (Binkowski et al. 2018)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def rbf(a: Array, b: Array, sigma: float = 10.0) -> Array:
    """Return the (n, m) Gaussian kernel exp(-|a - b|^2 / 2 sigma^2); sigma 10 is CMMD's (Jayasumana et al. 2024)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.exp(-squares / (2 * sigma**2))


def mmd2_u(real: Array, synthetic: Array, kernel: Kernel) -> tuple[float, float]:
    """Return the unbiased squared maximum mean discrepancy and its two-sample jackknife standard error.

    The diagonals of both inner kernels are left out, those of the cross kernel stay. The error takes the sets to be
    independent; images drawn from the masks of the real set are weakly paired, so it is approximate. Where both
    distributions are equal it is too large, by up to a half. Both sets need at least `MIN_IMAGES` rows.

    >>> features = np.array([[0.0], [1.0], [2.0]])
    >>> [round(number, 3) for number in mmd2_u(features, features + 1, poly)]
    [21.667, 172.093]
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    n, m = len(x), len(y)
    kxx, kyy, kxy = kernel(x, x), kernel(y, y), kernel(x, y)
    rows_x, rows_y = kxx.sum(1) - np.diag(kxx), kyy.sum(1) - np.diag(kyy)
    within_x, within_y, cross = rows_x.sum() / (n * (n - 1)), rows_y.sum() / (m * (m - 1)), kxy.sum()
    value = within_x + within_y - 2 * cross / (n * m)

    without_x = (rows_x.sum() - 2 * rows_x) / ((n - 1) * (n - 2)) + within_y
    without_x -= 2 * (cross - kxy.sum(1)) / ((n - 1) * m)
    without_y = (rows_y.sum() - 2 * rows_y) / ((m - 1) * (m - 2)) + within_x
    without_y -= 2 * (cross - kxy.sum(0)) / (n * (m - 1))
    variance = (n - 1) * without_x.var() + (m - 1) * without_y.var()
    return float(value), float(np.sqrt(variance))


def mmd2_v(real: Array, synthetic: Array, kernel: Kernel) -> float:
    """Return the biased squared maximum mean discrepancy: the diagonals stay, as in the reference code of CMMD.

    >>> mmd2_v(np.zeros((3, 2)), np.zeros((5, 2)), rbf)
    0.0
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    return float(kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())


def mmd2_subsets(
    real: Array, synthetic: Array, kernel: Kernel, *, subsets: int, size: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return mean and standard deviation of `mmd2_u` over random subsets of `size` rows of each set.

    This is the KID that libraries print. Its standard deviation is no confidence interval: the subsets overlap. The
    kernels are formed once, and each subset is cut out of them.
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    kxx, kyy, kxy = kernel(x, x), kernel(y, y), kernel(x, y)
    values = []
    for _ in range(subsets):
        i, j = (np.sort(rng.choice(len(one), size, replace=False)) for one in (x, y))
        within = sum(k[rows][:, rows].sum() - k[rows, rows].sum() for k, rows in ((kxx, i), (kyy, j)))
        values.append(within / (size * (size - 1)) - 2 * kxy[i][:, j].mean())
    return float(np.mean(values)), float(np.std(values))


def clip_i(real: Array, synthetic: Array) -> float:
    """Return the mean cosine over all n * m pairs of embeddings, in [-1, 1] (Ruiz et al. 2023).

    It equals the product of the two mean unit vectors, so no pair is ever formed.

    >>> clip_i(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 3.0]]))
    0.5
    """
    x, y = real.astype(np.float64), synthetic.astype(np.float64)
    mean_x = (x / np.linalg.norm(x, axis=1, keepdims=True)).mean(0)
    mean_y = (y / np.linalg.norm(y, axis=1, keepdims=True)).mean(0)
    return float(mean_x @ mean_y)


def within_cosine(features: Array) -> float | None:
    """Return the mean cosine over all pairs of two different rows, or None for a single row.

    >>> round(within_cosine(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])), 6), within_cosine(np.ones((1, 2)))
    (0.333333, None)
    """
    n = len(features)
    return None if n < 2 else (n * clip_i(features, features) - 1) / (n - 1)
