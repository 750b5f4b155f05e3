"""Mask fidelity: does a segmenter that was trained on real pairs find the lesion where the mask asked for it?"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from data.pairs.errors import UserError
from data.pairs.manifest import content_box
from data.pairs.resize import Box, crop
from evaluation.features.images import Images

Judge = Callable[[np.ndarray], np.ndarray]
"""uint8 (N, H, W, 3) -> float32 probabilities (N, H, W)."""

DEFINITION = (
    "Mean over images of the foreground Dice between the mask and what the judge, a segmenter trained on real pairs, "
    "finds above 0.5; 1 when both are empty."
)
PERMUTED = DEFINITION + " Control: every image against the mask of another one (cyclic shift)."


class Fidelity(NamedTuple):
    """Dice of each image with its own mask and with another image's; `permuted` is None where `reason` says why."""

    dice: np.ndarray
    permuted: np.ndarray | None
    reason: str | None


def dice(predicted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the foreground Dice of each image, float64 (N,) in [0, 1], of binary (N, H, W); 1 when both are empty.

    >>> dice(np.array([[[1, 1]], [[0, 0]]]), np.array([[[1, 0]], [[0, 0]]])).round(3).tolist()
    [0.667, 1.0]
    """
    predicted, mask = predicted.astype(bool), mask.astype(bool)
    both = (predicted & mask).sum((1, 2))
    total = predicted.sum((1, 2)) + mask.sum((1, 2))
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


def strangers(masks: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return for each image the index of another one, by the cyclic shift that pairs the fewest equal masks.

    None when that still pairs all (equal masks, or a single one). A shift has no fixed point. Among equals the first
    from n / 2 on wins, because neighbours in a set are often neighbours in a video.
    """
    hashes = [hashlib.sha256(np.ascontiguousarray(mask)).hexdigest() for mask in masks]
    n = len(hashes)
    _, kinds = np.unique(hashes, return_inverse=True)
    if kinds.max() == 0:
        return None
    steps = [1 + (n // 2 - 1 + turn) % (n - 1) for turn in range(n - 1)]
    step = min(steps, key=lambda step: int((np.roll(kinds, step) == kinds).sum()))
    return np.roll(np.arange(n), step)


def _lesion(probabilities: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    bad = [name for name, one in zip(ids, probabilities, strict=True) if not np.isfinite(one).all()]
    if bad:
        raise UserError(
            f"the judge's maps of {len(bad)} images are not finite (NaN or infinite): {', '.join(bad[:20])}",
            ["its weights are broken or overflow: train it again (run dvc repro judge), in full precision"],
        )
    return probabilities > 0.5


def found_in(images: np.ndarray, boxes: Sequence[Box | None], judge: Judge, ids: Sequence[str]) -> np.ndarray:
    """Return bool (N, H, W): where the judge finds lesion in uint8 (N, H, W, 3) when it sees only what is no padding.

    It was trained without any padding, and `boxes` say where there is some.

    Raises: UserError naming the ids of images whose maps are not finite.
    """
    if not any(boxes):
        predicted = _lesion(judge(images), ids)
        if predicted.shape != images.shape[:3]:
            raise ValueError(f"the judge must return probabilities {images.shape[:3]}, got {predicted.shape}")
        return predicted
    predicted = np.zeros(images.shape[:3], bool)
    for image, place, box, name in zip(images, predicted, boxes, ids, strict=True):
        inner = crop(image, box) if box else image
        (crop(place, box) if box else place)[:] = _lesion(judge(inner[None]), [name])[0]
    return predicted


def mask_fidelity(images: Images, judge: Judge, *, batch: int = 32) -> Fidelity:
    """Return the judge's Dice of every image, and the permuted control.

    Metrics of distributions cannot see swapped masks, so this one is what says that a pair is a pair.
    """
    others = strangers(images.mask(index) for index in range(len(images)))
    boxes = [content_box(pair) for pair in images.pairs]
    own: list[np.ndarray] = []
    swapped: list[np.ndarray] = []
    for start in range(0, len(images), batch):
        rows = range(start, min(start + batch, len(images)))
        predicted = found_in(
            images.take(list(rows)), boxes[start : start + batch], judge, [images.ids[row] for row in rows]
        )
        own.append(dice(predicted, np.stack([images.mask(row) for row in rows])))
        if others is not None:
            swapped.append(dice(predicted, np.stack([images.mask(int(others[row])) for row in rows])))
    if others is None:
        reason = "one image has no other to swap masks with" if len(images) == 1 else "all masks are equal"
        return Fidelity(np.concatenate(own), None, reason)
    return Fidelity(np.concatenate(own), np.concatenate(swapped), None)
