"""Dice and IoU under conventions that are named, because numbers of different conventions cannot be compared.

fg_image: the foreground alone, per image, lesion where the probability is above 0.5; the mean over images is reported.
pooled: the pixels of all images counted together; Dice and IoU of the foreground, and the mean IoU of both classes.
Where prediction and truth are both empty, Dice and IoU are 1. Source: spec/segmenters.md 5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.pairs.errors import UserError

THRESHOLD = 0.5


@dataclass(frozen=True)
class Measures:
    """What was measured on one test set: true and false positives and negatives, and scores by convention."""

    ids: tuple[str, ...]
    counts: np.ndarray  # int64 (N, 4): true positives, false positives, false negatives, true negatives, in pixels
    images: dict[str, np.ndarray]  # "convention/score" -> float64 (N,) in [0, 1]


def _count(probability: np.ndarray, mask: np.ndarray) -> list[int]:
    """Return [tp, fp, fn, tn] in pixels."""
    found, lesion = probability > THRESHOLD, mask > 0
    tp = int(np.count_nonzero(found & lesion))
    fp, fn = int(np.count_nonzero(found)) - tp, int(np.count_nonzero(lesion)) - tp
    return [tp, fp, fn, mask.size - tp - fp - fn]


def _dice_iou(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the foreground's Dice and IoU for counts (..., 4); both are 1 where there is nothing to find or found."""
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    errors = fp + fn
    empty = tp + errors == 0
    return (2 * tp + empty) / (2 * tp + errors + empty), (tp + empty) / (tp + errors + empty)


def fg_image(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return Dice and IoU of the foreground, one number an image, from counts (N, 4)."""
    dice, iou = _dice_iou(counts)
    return {"dice": dice, "iou": iou}


def pooled(counts: np.ndarray) -> dict[str, float]:
    """Return Dice and IoU of the foreground and the mean IoU of both classes over all pixels, from counts (N, 4)."""
    total = counts.sum(axis=0)
    dice, iou = _dice_iou(total)
    _, iou_background = _dice_iou(total[::-1])
    return {"dice": float(dice), "iou": float(iou), "iou_two_class": float((iou + iou_background) / 2)}


IMAGE_CONVENTIONS: dict[str, Callable[[np.ndarray], dict[str, np.ndarray]]] = {"fg_image": fg_image}


def measure(probabilities: Sequence[np.ndarray], masks: Sequence[np.ndarray], ids: Sequence[str]) -> Measures:
    """Return the counts and scores of one test set.

    Probabilities are float (H, W) in [0, 1] and masks uint8 (H, W) in {0, 1}, one each an image and of any size: a
    stack (N, H, W) will do.
    """
    shapes = [(np.shape(p), np.shape(m)) for p, m in zip(probabilities, masks, strict=True)]
    if len(ids) != len(shapes) or any(p != m for p, m in shapes):
        raise ValueError(f"{len(ids)} ids for {len(shapes)} images, of which all must have the size of their masks")
    pairs = zip(probabilities, masks, strict=True)
    counts = np.array([_count(probability, mask) for probability, mask in pairs], dtype=np.int64).reshape(-1, 4)
    images = {
        f"{convention}/{score}": values
        for convention, scores_of in IMAGE_CONVENTIONS.items()
        for score, values in scores_of(counts).items()
    }
    return Measures(tuple(ids), counts, images)


def _spread(values: np.ndarray) -> dict[str, object]:
    """Return the mean and the standard deviation over images (n - 1), null with a reason for a single image."""
    if len(values) > 1:
        return {"mean": float(values.mean()), "sd": float(values.std(ddof=1))}
    return {"mean": float(values.mean()), "sd": None, "sd_reason": "a spread takes two images or more"}


def summarize(per_test_set: Mapping[str, Measures]) -> dict[str, dict[str, object]]:
    """Return {"metrics": flat numbers over all test sets, "test_sets": details of each}.

    mDice and mIoU follow fg_image: means over images, so that a test set weighs by its size. The names that end in
    _pooled follow pooled, over the pixels of all test sets.

    Raises: UserError for test sets without images.
    """
    empty = sorted(name for name, measures in per_test_set.items() if not measures.ids)
    if empty or not per_test_set:
        raise UserError("nothing to measure on", [f"test set {name} holds no images" for name in empty])
    sets = per_test_set.values()
    overall = pooled(np.concatenate([measures.counts for measures in sets]))
    metrics: dict[str, object] = {
        "images": sum(len(measures.ids) for measures in sets),
        "mDice": float(np.concatenate([measures.images["fg_image/dice"] for measures in sets]).mean()),
        "mIoU": float(np.concatenate([measures.images["fg_image/iou"] for measures in sets]).mean()),
        "mDice_pooled": overall["dice"],
        "mIoU_pooled": overall["iou"],
        "mIoU_two_class_pooled": overall["iou_two_class"],
    }
    details: dict[str, object] = {
        name: {
            "n": len(measures.ids),
            **{key: _spread(values) for key, values in measures.images.items()},
            **{f"pooled/{score}": value for score, value in pooled(measures.counts).items()},
            "images": [
                {"id": image, **{key: float(values[row]) for key, values in measures.images.items()}}
                for row, image in enumerate(measures.ids)
            ],
        }
        for name, measures in per_test_set.items()
    }
    return {"metrics": metrics, "test_sets": details}
