"""The other measures of PraNet's toolbox, each for one image: a stretched map in [0, 1] and a bool mask, both (H, W).

S-measure: Fan et al., ICCV 2017. E-measure: Fan et al., IJCAI 2018. Weighted F: Margolin et al., CVPR 2014. Masks
without lesion and without background are treated as in the toolbox, except where a function says otherwise.
"""

from itertools import product

import numpy as np
from scipy.ndimage import correlate1d, distance_transform_edt

from segmentation.measures.overlap import Steps

Array = np.ndarray


def mae(stretched: Array, lesion: Array) -> float:
    """Return the mean absolute difference of map and mask.

    >>> mae(np.array([[1.0, 0.5]]), np.array([[True, False]]))
    0.25
    """
    return float(np.abs(stretched - lesion).mean())


def e_measure_curve(steps: Steps) -> Array:
    """Return the E-measure of the map cut at each threshold, float64 (256,).

    Map and mask are centred at their means to a and b; a pixel counts (1 + 2ab / (a^2 + b^2))^2 / 4. The sum is divided
    by one less than the number n of pixels, so that a perfect map gets n / (n - 1). Without lesion a pixel counts 1
    where nothing is found, without background where something is.

    >>> from segmentation.measures.overlap import count_steps
    >>> lesion = np.eye(4, dtype=bool)
    >>> float(e_measure_curve(count_steps(lesion * np.uint8(255), lesion))[255])  # 16 / 15
    1.0666666666666667
    """
    size, predicted, hits = steps.size, steps.predicted, steps.hits
    if steps.lesion in (0, size):
        total = predicted if steps.lesion else size - predicted
    else:
        missed = steps.lesion - hits
        total = np.zeros(256)
        for value, truth, pixels in (
            (1, 1, hits),
            (1, 0, predicted - hits),
            (0, 1, missed),
            (0, 0, size - predicted - missed),
        ):
            a, b = value - predicted / size, truth - steps.lesion / size
            total += pixels * (1 + 2 * a * b / (a**2 + b**2)) ** 2 / 4
    return total / max(size - 1, 1)


def s_measure(stretched: Array, lesion: Array) -> float:
    """Return the S-measure in [0, 1], the mean of object and region similarity.

    Without lesion it is one minus the mean of the map, without background that mean.

    >>> lesion = np.eye(4, dtype=bool)
    >>> s_measure(lesion.astype(float), lesion), s_measure(np.full((4, 4), 0.25), np.zeros((4, 4), bool))
    (1.0, 0.75)
    """
    share = lesion.mean()
    if share in (0, 1):
        return float(stretched.mean() if share else 1 - stretched.mean())
    objects = share * _object(stretched[lesion]) + (1 - share) * _object(1 - stretched[~lesion])
    return max(0.0, float(objects + _regions(stretched, lesion)) / 2)


def _object(values: Array) -> float:
    """Return how bright and even the map is on one class: 2 m / (m^2 + 1 + sd), with n - 1 in the sd."""
    mean, spread = values.mean(), values.std(ddof=1) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread)


def _regions(stretched: Array, lesion: Array) -> float:
    """Return the similarity of the four parts around the lesion's centre, weighted by area.

    The row and column of the centre belong to the upper left part. A part without pixels has no weight; the toolbox
    gives no number then.
    """
    row, column = (int(np.floor(place.mean() + 0.5)) + 1 for place in np.nonzero(lesion))
    total = 0.0
    for rows, columns in product((slice(row), slice(row, None)), (slice(column), slice(column, None))):
        part = stretched[rows, columns]
        if part.size:
            total += part.size / stretched.size * _similarity(part, lesion[rows, columns])
    return total


def _similarity(x: Array, y: Array) -> float:
    """Return 4 mx my sxy / ((mx^2 + my^2) (sx^2 + sy^2)).

    0 / 0 is 1, so two even parts agree whatever their values.
    """
    # from the first pixel: the variance of an even part is zero here, in the toolbox rounding may say otherwise
    dx, dy = (values - float(values.flat[0]) for values in (x, y))
    dx, dy = dx - dx.mean(), dy - dy.mean()
    mean_x, mean_y = x.mean(), y.mean()
    below = (mean_x**2 + mean_y**2) * ((dx**2).sum() + (dy**2).sum())  # the n - 1 of sxy, sx^2, sy^2 cancel
    return float(4 * mean_x * mean_y * (dx * dy).sum() / below) if below else 1.0


def weighted_f(stretched: Array, lesion: Array) -> float:
    """Return the weighted F-measure (beta^2 = 1) in [0, 1].

    An error on the background has the size of that at the nearest pixel of the lesion where errors are smoothed
    (Gaussian, 7 x 7, sigma 5, zeros around the image), and smoothed errors count within the lesion where they are
    smaller. On the background errors weigh 2 - 0.5^(d / 5), d px from the lesion. With weighted errors H within and F
    outside a lesion of G pixels, recall is 1 - H / G and precision (G - H) / (G - H + F). Without lesion it is 0; the
    toolbox gives no number there.

    >>> lesion = np.eye(4, dtype=bool)
    >>> weighted_f(lesion.astype(float), lesion), weighted_f(np.ones((4, 4)), np.zeros((4, 4), bool))
    (1.0, 0.0)
    """
    if not lesion.any():
        return 0.0
    distance, (row, column) = distance_transform_edt(~lesion, return_indices=True)
    error = np.abs(stretched - lesion)
    gaussian = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 5**2))
    smooth = error[row, column]  # within the lesion a pixel is nearest to itself
    for axis in (0, 1):
        smooth = correlate1d(smooth, gaussian / gaussian.sum(), axis, mode="constant")
    size = np.count_nonzero(lesion)
    hits = size - np.minimum(error, smooth)[lesion].sum()
    false = (error * (2 - 0.5 ** (distance / 5)))[~lesion].sum()
    return float(2 * hits / (hits + false + size))
