"""Dice and IoU from counts of pixels: one image at a time, both classes, or all pixels together.

Counts are (..., 4): true positives, false positives, false negatives, true negatives. Read backwards they are those of
the background. Source: spec/segmenters.md 5. Why this is not torchmetrics: docs/evaluation.md, Libraries.
"""

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
