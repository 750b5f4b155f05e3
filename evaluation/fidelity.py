"""Mask fidelity: does a segmenter that was trained on real pairs find the lesion where the mask asked for it?"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from data.pairs.resize import Box, crop

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


def dice(found: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the foreground Dice of each image, float64 (N,) in [0, 1], of binary (N, H, W); 1 when both are empty."""
    found, asked = found.astype(bool), asked.astype(bool)
    both = (found & asked).sum((1, 2))
    total = found.sum((1, 2)) + asked.sum((1, 2))
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


def strangers(masks: np.ndarray) -> np.ndarray | None:
    """Return for each image the index of another one, by the cyclic shift that pairs the fewest equal masks.

    None when that still pairs all (equal masks, or a single one). A shift has no fixed point. Among equals the first
    from n / 2 on wins, because neighbours in a set are often neighbours in a video.
    """
    n = len(masks)
    hashes = [hashlib.sha256(np.ascontiguousarray(mask)).hexdigest() for mask in masks]
    _, kinds = np.unique(hashes, return_inverse=True)
    if kinds.max() == 0:
        return None
    steps = [1 + (n // 2 - 1 + turn) % (n - 1) for turn in range(n - 1)]
    step = min(steps, key=lambda step: int((np.roll(kinds, step) == kinds).sum()))
    return np.roll(np.arange(n), step)


def _found_within(images: np.ndarray, boxes: Sequence[Box | None], judge: Judge) -> np.ndarray:
    """Return bool (N, H, W): where the judge finds lesion when it is shown only what is no padding."""
    found = np.zeros(images.shape[:3], bool)
    for image, place, box in zip(images, found, boxes, strict=True):
        inner = crop(image, box) if box else image
        (crop(place, box) if box else place)[:] = judge(inner[None])[0] > 0.5
    return found


def mask_fidelity(
    images: np.ndarray,
    masks: np.ndarray,
    judge: Judge,
    *,
    boxes: Sequence[Box | None] = (),
    batch: int = 32,
) -> Fidelity:
    """Return the judge's Dice on uint8 images (N, H, W, 3) and masks (N, H, W) in {0, 1}, and the permuted control.

    Metrics of distributions cannot see swapped masks, so this one is what says that a pair is a pair. `boxes` say what
    is no padding: the judge was trained without any.
    """
    if any(boxes):
        found = _found_within(images, boxes, judge)
    else:
        found = np.concatenate([judge(images[i : i + batch]) > 0.5 for i in range(0, len(images), batch)])
    if found.shape != masks.shape:
        raise ValueError(f"the judge must return probabilities {masks.shape}, got {found.shape}")
    others = strangers(masks)
    if others is None:
        reason = "one image has no other to swap masks with" if len(masks) == 1 else "all masks are equal"
        return Fidelity(dice(found, masks), None, reason)
    return Fidelity(dice(found, masks), dice(found, masks[others]), None)
