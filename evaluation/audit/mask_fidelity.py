"""Mask fidelity: does a segmenter that was trained on real pairs find the lesion where the mask asked for it?"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from data.pairs.errors import UserError
from data.pairs.manifest import Pair, content
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


def _lesion(judge: Judge, images: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    maps = judge(images)
    if maps.shape != images.shape[:3]:
        raise ValueError(f"the judge must return probabilities {images.shape[:3]}, got {maps.shape}")
    bad = [pair.id for pair, probabilities in zip(pairs, maps, strict=True) if not np.isfinite(probabilities).all()]
    if bad:
        raise UserError(
            f"the judge's maps of {len(bad)} images are not finite (NaN or infinite): {', '.join(bad[:20])}",
            ["its weights are broken or overflow: train it again (run dvc repro judge), in full precision"],
        )
    return maps > 0.5


def judged(judge: Judge, images: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    """Return bool (N, H, W): where the judge finds lesion in images uint8 (N, H, W, 3) of N pairs.

    It sees only what is no padding, as it was trained without any.

    Raises: UserError naming the ids of images whose maps are not finite.
    """
    if not any(pair.box for pair in pairs):
        return _lesion(judge, images, pairs)
    predicted = np.zeros(images.shape[:3], bool)
    for pair, image, place in zip(pairs, images, predicted, strict=True):
        content(pair, place)[:] = _lesion(judge, content(pair, image)[None], [pair])[0]
    return predicted


def mask_fidelity(images: Images, judge: Judge, *, batch: int = 32) -> Fidelity:
    """Return the judge's Dice of every image, and the permuted control.

    Metrics of distributions cannot see swapped masks, so this one is what says that a pair is a pair.

    Raises: UserError naming the ids of images whose maps are not finite.
    """
    others = strangers(images.mask(index) for index in range(len(images)))
    own: list[np.ndarray] = []
    swapped: list[np.ndarray] = []
    for start in range(0, len(images), batch):
        rows = range(start, min(start + batch, len(images)))
        predicted = judged(judge, images.take(rows), images.pairs[start : start + batch])
        own.append(dice(predicted, np.stack([images.mask(row) for row in rows])))
        if others is not None:
            swapped.append(dice(predicted, np.stack([images.mask(int(others[row])) for row in rows])))
    if others is None:
        reason = "one image has no other to swap masks with" if len(images) == 1 else "all masks are equal"
        return Fidelity(np.concatenate(own), None, reason)
    return Fidelity(np.concatenate(own), np.concatenate(swapped), None)
