"""The polyp benchmarks' way (PraNet's toolbox): 256 thresholds on an 8-bit map stretched to its own extremes.

Source: spec/segmenters.md 4.
"""

from typing import NamedTuple

import numpy as np


class Steps(NamedTuple):
    """Pixels of one image at the thresholds k / 255, k = 0 ... 255; at 0 all pixels are predicted."""

    hits: np.ndarray  # int64 (256,): predicted, and lesion
    predicted: np.ndarray  # int64 (256,)
    lesion: int
    size: int


def to_8_bit(probability: np.ndarray) -> np.ndarray:
    """Return the map as its PNG file would hold it, uint8 (H, W), from float (H, W) in [0, 1]."""
    return np.round(255 * probability).astype(np.uint8)


def stretch(saved: np.ndarray) -> np.ndarray:
    """Return float64 (H, W) from 0 to 1, by the map's own extremes; a constant map is left at saved / 255."""
    low, high = int(saved.min()), int(saved.max())
    return saved / 255 if low == high else (saved - float(low)) / (high - low)


def count_steps(saved: np.ndarray, lesion: np.ndarray) -> Steps:
    """Return the counts at all thresholds of a map uint8 (H, W) and a mask bool (H, W).

    A stretched value is at or above k / 255 when its bin, in whole numbers, is at or above k: two histograms, summed
    from the top, are exactly the 256 comparisons.
    """
    low, high = int(saved.min()), int(saved.max())
    bins = saved if low == high else (saved.astype(np.int64) - low) * 255 // (high - low)
    inside, outside = (np.bincount(bins[part], minlength=256)[::-1].cumsum()[::-1] for part in (lesion, ~lesion))
    return Steps(inside, inside + outside, int(inside[0]), saved.size)


def dice_iou_curves(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice and IoU of the foreground at each threshold, two float64 (256,) in [0, 1].

    Nothing is smoothed: both are 0 where no lesion is hit, also when there is none to hit.

    >>> dice, iou = dice_iou_curves(count_steps(np.array([[255, 102, 0, 0]], np.uint8), np.array([[1, 0, 0, 0]], bool)))
    >>> [round(float(dice[k]), 3) for k in (0, 102, 103)], float(iou[102])
    ([0.4, 0.667, 1.0], 0.5)
    """
    total = steps.lesion + steps.predicted
    return 2 * steps.hits / np.maximum(total, 1), steps.hits / np.maximum(total - steps.hits, 1)
