"""Classical augmentation as a pair set: the control that costs nothing, at the same count as a generator's pairs.

Unlike augmentation on the fly, each pair is drawn once, written, and seen again in every epoch, as synthetic ones are.
Moves are drawn here as plain values, which provenance.csv keeps, and applied by albumentations to image and mask alike.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.baselines.config import COLOURS, Augment
from data.baselines.made_pairs import Array, Made, Move, write_made
from data.masks.constraints import broken_constraint
from data.masks.moves import applied, bent, draw_moves, flipped, library, turned
from data.pairs.manifest import PairSet

AFFINE = ("scale", "rotate", "shift")
BORDER = {"reflect": cv2.BORDER_REFLECT_101, "black": cv2.BORDER_CONSTANT}


def _both(warp: Callable, image: Array, masks: Sequence[Array], border: int) -> tuple[Array, list[Array]]:
    """Return the image, its labels and the lesion alone after a move; of the lesion no mirror image comes in."""
    if border == cv2.BORDER_CONSTANT:
        return warp(image, masks, border=border)
    moved, (labels,) = warp(image, masks[:1], border=border)
    return moved, [labels, *warp(image, masks[1:], border=cv2.BORDER_CONSTANT)[1]]


def _coloured(image: Array, move: Move) -> Array:
    if move["name"] == "blur":
        sigma = move["sigma_px"]
        return applied(library().GaussianBlur(sigma_limit=(sigma, sigma), blur_limit=0, p=1), image)[0]
    if move["name"] == "noise":
        return applied(library().GaussNoise(std_range=(move["std"],) * 2, p=1), image, seed=move["seed"])[0]
    still = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    values = {key: (move.get(key, value),) * 2 for key, value in still.items()}
    return applied(library().ColorJitter(**values, p=1), image)[0]


def apply_changes(image: Array, labels: Array, moves: Sequence[Move], border: str) -> tuple[Array, Array, float]:
    """Return the changed image, uint8 (H, W, 3), its labels, uint8 (H, W), and the share of the lesion that is lost.

    The frame is moved with room on all sides, so that what leaves it is known. With the border `reflect`, what comes
    in is the mirrored image with its mirrored lesions.
    """
    height, width = labels.shape
    up, left = height // 2, width // 2
    room = ((up, up), (left, left))
    mode: Any = "reflect" if border == "reflect" else "constant"
    canvas, masks = np.pad(image, (*room, (0, 0)), mode), [np.pad(labels, room, mode), np.pad(labels, room)]
    for affine, group in groupby((m for m in moves if m["name"] not in COLOURS), lambda m: m["name"] in AFFINE):
        together = list(group)
        if affine:
            in_px = [{**m, "x": round(m.get("x", 0) * width), "y": round(m.get("y", 0) * height)} for m in together]
            canvas, masks = _both(partial(turned, moves=in_px), canvas, masks, BORDER[border])
            continue
        for move in together:
            if move["name"] == "flip":
                canvas, masks = flipped(canvas, move), [flipped(mask, move) for mask in masks]
            else:
                bend = partial(bent, move=move, side=min(height, width))
                canvas, masks = _both(bend, canvas, masks, BORDER[border])
    inner = np.s_[up : up + height, left : left + width]
    before, kept = np.count_nonzero(masks[1]), np.count_nonzero(masks[1][inner])
    lost = (1 - kept / before if before else 1.0) if labels.any() else 0.0
    image = np.ascontiguousarray(canvas[inner])
    for move in (m for m in moves if m["name"] in COLOURS):
        image = _coloured(image, move)
    return image, np.ascontiguousarray(masks[0][inner]), lost


def augment(image: Array, labels: Array, row: Augment, rng: np.random.Generator) -> Made:
    """Return a changed pair. Draws whose mask breaks a constraint are rejected; after `attempts` it keeps its place."""
    rejected: Counter[str] = Counter()
    for attempt in range(row.attempts + 1):
        last = attempt == row.attempts
        moves = draw_moves(row.transforms, rng, only=("flip", *COLOURS) if last else ())
        changed, changed_labels, lost = apply_changes(image, labels, moves, row.border)
        broken = broken_constraint(row.constraints, changed_labels, lost, labels, labels) if labels.any() else ""
        if last or not broken:
            break
        rejected[broken] += 1
    return Made(changed, changed_labels, moves, rejected)


def write_augmented(real: PairSet, name: str, row: Augment, folder: Path) -> PairSet:
    """Write `row.copies` changed pairs of each real one to `folder`, under the source `name`."""

    return write_made(real, name, row, lambda _, image, labels, rng: augment(image, labels, row, rng), folder)
