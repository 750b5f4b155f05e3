"""Dice and IoU from counts of pixels, at one threshold and at 256.

At one: an image at a time, both classes, or all pixels together, from counts (..., 4): true positives, false positives,
false negatives, true negatives; read backwards they are those of the background. Source: spec/segmenters.md 5. Why this
is not torchmetrics: docs/evaluation.md, Libraries.

At 256 it is the polyp benchmarks' way (PraNet's toolbox), on an 8-bit map stretched to its own extremes. Source:
spec/segmenters.md 4.
"""

from typing import NamedTuple

import numpy as np

NAMES = ("dice", "iou")


def count(predicted: np.ndarray, lesion: np.ndarray) -> list[int]:
    """Return [tp, fp, fn, tn] in pixels of two bool (H, W).

    >>> count(np.array([[True, True, False]]), np.array([[True, False, False]]))
    [1, 1, 0, 1]
    """
    tp = int(np.count_nonzero(predicted & lesion))
    fp, fn = int(np.count_nonzero(predicted)) - tp, int(np.count_nonzero(lesion)) - tp
    return [tp, fp, fn, lesion.size - tp - fp - fn]


def dice_iou(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the foreground's Dice and IoU for counts (..., 4); both are 1 where there is nothing to find or found.

    >>> dice, iou = dice_iou([[1, 1, 0, 2], [0, 0, 0, 4]])
    >>> dice.round(3).tolist(), iou.tolist()
    ([0.667, 1.0], [0.5, 1.0])
    """
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    errors = fp + fn
    empty = tp + errors == 0
    return (2 * tp + empty) / (2 * tp + errors + empty), (tp + empty) / (tp + errors + empty)


def per_image(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return Dice and IoU, one number an image, from counts (N, 4): of the foreground, and the means of both classes.

    >>> {name: values.tolist() for name, values in per_image(np.array([[0, 0, 4, 96]])).items() if "iou" in name}
    {'fg_image/iou': [0.0], 'classavg_image/iou': [0.48]}
    """
    foreground, background = dice_iou(counts), dice_iou(counts[:, ::-1])
    return {
        **{f"fg_image/{name}": lesion for name, lesion in zip(NAMES, foreground, strict=True)},
        **{f"classavg_image/{name}": (a + b) / 2 for name, a, b in zip(NAMES, foreground, background, strict=True)},
    }


def pooled(counts: np.ndarray) -> dict[str, float]:
    """Return Dice and IoU of the foreground and the mean IoU of both classes over all pixels, from counts (N, 4).

    >>> pooled(np.array([[3, 1, 0, 6], [0, 0, 1, 9]]))["pooled/dice"]
    0.75
    """
    total = counts.sum(axis=0)
    dice, iou = dice_iou(total)
    _, iou_background = dice_iou(total[::-1])
    return {
        "pooled/dice": float(dice),
        "pooled/iou": float(iou),
        "pooled/iou_two_class": float((iou + iou_background) / 2),
    }


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
