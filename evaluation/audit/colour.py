"""Colour in CIELAB: how far single images drift from the real ones, and how far a whole set has shifted."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 101  # odd, so that grey lies in the middle of a bin of a and b
RANGES = ((0.0, 100.0), (-110.0, 110.0), (-110.0, 110.0))  # of L, a and b; all of sRGB lies within
SMALLEST_SD = 0.5  # Lab units; the logarithm of less says nothing about colour
# What the eye hardly sees is no drift, however alike the real images are: Lab units of a mean, logarithms of a sd.
FLOOR = np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.1])
EDGE = 0.95
PARTS = 10
DRIFT = (
    "Mahalanobis distance of an image's mean Lab colour and log spread from the real training images, as a multiple of "
    "the distance within which 95 % of these lie: above 1 an image looks odd among them."
)
SHIFT = "Delta E (CIE 1976) between the mean Lab colours of both sets; about 2 is a difference that one can see."
HISTOGRAM = "1-Wasserstein distance between the Lab histograms of both sets in Lab units, mean over L, a and b."


class LabStatistics(NamedTuple):
    """Of N images and the channels L, a, b: mean and sd float64 (N, 3), histogram int32 (N, 3, BINS) of pixels."""

    mean: np.ndarray
    sd: np.ndarray
    histogram: np.ndarray


def lab_statistics(images: Sequence[np.ndarray] | np.ndarray) -> LabStatistics:
    """Return the statistics of N uint8 (H, W, 3)."""
    import cv2

    found = []
    for image in images:
        pixels = np.ascontiguousarray(image, np.float32) / 255
        lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)
        counts = [np.histogram(channel, BINS, limits)[0] for channel, limits in zip(lab.T, RANGES, strict=True)]
        found.append((lab.mean(0), lab.std(0), np.array(counts, np.int32)))
    mean, sd, histogram = (np.stack(column) for column in zip(*found, strict=True))
    return LabStatistics(mean, sd, histogram)


def colour_drift(train_mean: np.ndarray, train_sd: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the drift of each image, float64 (N,) >= 0, from Lab means and sds (M, 3) and (N, 3).

    1 is the edge within which 95 % of the real training images lie, each measured by others than itself; the edge is
    never drawn nearer than for normally distributed colours. The covariance is shrunk (Ledoit and Wolf 2004), and
    spreads that the eye hardly sees are widened, so that even one training image gives a finite answer. With fewer than
    about 10 it is a rough one, since the edge then hangs on the oddest of them.
    """
    from scipy.stats import chi2

    train, images = _features(train_mean, train_sd), _features(mean, sd)
    parts = np.arange(len(train)) % min(PARTS, len(train))
    own = [_distance(train[parts == part], train[parts != part]) for part in set(parts.tolist()) if len(train) > 1]
    normal = float(chi2.ppf(EDGE, train.shape[1]) ** 0.5)
    edge = max(normal, float(np.quantile(np.concatenate(own), EDGE))) if own else normal
    return _distance(images, train) / edge


def _features(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return np.concatenate([mean, np.log(np.maximum(sd, SMALLEST_SD))], axis=1).astype(np.float64)


def _distance(images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the Mahalanobis distance of each image, (N,), from the distribution of the training images."""
    from sklearn.covariance import ledoit_wolf

    centre = train.mean(0)
    variance = train.var(0) + FLOOR**2
    scaled = (train - centre) / variance**0.5  # one unit for all, because the shrinkage is towards equal variances
    covariance = np.diag(FLOOR**2 / variance)
    if len(train) > 1:
        covariance = covariance + ledoit_wolf(scaled, assume_centered=True)[0]
    away = (images - centre) / variance**0.5
    return np.sqrt((away * np.linalg.solve(covariance, away.T).T).sum(1))


def colour_shift(train_mean: np.ndarray, mean: np.ndarray) -> float:
    """Return the Delta E between the mean colours of two sets from Lab means (M, 3) and (N, 3) of their images.

    >>> colour_shift(np.array([[50.0, 10.0, 0.0]]), np.array([[53.0, 14.0, 0.0], [53.0, 14.0, 0.0]]))
    5.0
    """
    return float(np.linalg.norm(train_mean.mean(0) - mean.mean(0)))


def set_histogram(histogram: np.ndarray) -> np.ndarray:
    """Return the histogram of a set, float64 (3, BINS), shares that add up to 1 a channel; every image counts alike."""
    return (histogram / histogram.sum(2, keepdims=True)).mean(0)


def histogram_distance(train_histogram: np.ndarray, histogram: np.ndarray) -> np.ndarray:
    """Return the 1-Wasserstein distances of L, a and b between two sets' histograms (N, 3, BINS): (3,) in Lab units."""
    from scipy.stats import wasserstein_distance

    real, synthetic = set_histogram(train_histogram), set_histogram(histogram)
    centres = [low + (np.arange(BINS) + 0.5) * (high - low) / BINS for low, high in RANGES]
    return np.array([wasserstein_distance(c, c, r, s) for c, r, s in zip(centres, real, synthetic, strict=True)])
