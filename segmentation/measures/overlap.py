"""Dice and IoU from counts of pixels: one image at a time, both classes, or all pixels together.

Counts are (..., 4): true positives, false positives, false negatives, true negatives. Read backwards they are those of
the background. Source: spec/segmenters.md 5.
"""

import numpy as np


def count(found: np.ndarray, lesion: np.ndarray) -> list[int]:
    """Return [tp, fp, fn, tn] in pixels of two bool (H, W)."""
    tp = int(np.count_nonzero(found & lesion))
    fp, fn = int(np.count_nonzero(found)) - tp, int(np.count_nonzero(lesion)) - tp
    return [tp, fp, fn, lesion.size - tp - fp - fn]


def dice_iou(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the foreground's Dice and IoU for counts (..., 4); both are 1 where there is nothing to find or found."""
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    errors = fp + fn
    empty = tp + errors == 0
    return (2 * tp + empty) / (2 * tp + errors + empty), (tp + empty) / (tp + errors + empty)


def fg_image(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return Dice and IoU of the foreground, one number an image, from counts (N, 4)."""
    dice, iou = dice_iou(counts)
    return {"fg_image/dice": dice, "fg_image/iou": iou}


def classavg_image(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the means of foreground and background of Dice and IoU, one number an image, from counts (N, 4)."""
    dice, iou = dice_iou(counts)
    dice_background, iou_background = dice_iou(counts[:, ::-1])
    return {"classavg_image/dice": (dice + dice_background) / 2, "classavg_image/iou": (iou + iou_background) / 2}


def pooled(counts: np.ndarray) -> dict[str, float]:
    """Return Dice and IoU of the foreground and the mean IoU of both classes over all pixels, from counts (N, 4)."""
    total = counts.sum(axis=0)
    dice, iou = dice_iou(total)
    _, iou_background = dice_iou(total[::-1])
    return {
        "pooled/dice": float(dice),
        "pooled/iou": float(iou),
        "pooled/iou_two_class": float((iou + iou_background) / 2),
    }
