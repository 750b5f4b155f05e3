"""Classical augmentation as a pair set: the control that costs nothing, at the same count as a generator's pairs.

Unlike augmentation on the fly, each pair is drawn once, written, and seen again in every epoch, as synthetic ones are.
Moves are drawn here as plain values, which provenance.csv keeps, and applied by albumentations to image and mask alike.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.baselines.config import AnyChange, Augment, Blur, Hue, Light, Noise
from data.baselines.made_pairs import Array, Made, Move, write_made
from data.masks.masks import broken_constraint
from data.masks.moves import DRAW as DRAW_MOVE
from data.masks.moves import FIELD_RMS
from data.pairs.manifest import Pair, PairSet

AFFINE = ("scale", "rotate", "shift")
BORDER = {"reflect": cv2.BORDER_REFLECT_101, "black": cv2.BORDER_CONSTANT}


def _draw_light(row: Light, rng: np.random.Generator) -> Move:
    brightness, contrast = rng.uniform(1 - row.most, 1 + row.most, 2)
    return {"brightness": float(brightness), "contrast": float(contrast)}


def _draw_hue(row: Hue, rng: np.random.Generator) -> Move:
    factor = rng.uniform(1 - row.saturation, 1 + row.saturation)
    return {"hue": float(rng.uniform(-row.hue, row.hue)), "saturation": float(factor)}


def _draw_blur(row: Blur, rng: np.random.Generator) -> Move:
    return {"sigma_px": float(rng.uniform(*row.sigma_px))}


def _draw_noise(row: Noise, rng: np.random.Generator) -> Move:
    return {"std": float(rng.uniform(*row.std)), "seed": int(rng.integers(2**31))}


DRAW_COLOUR: dict[str, Callable[[Any, np.random.Generator], Move]] = {
    "brightness_contrast": _draw_light,
    "hue_saturation": _draw_hue,
    "blur": _draw_blur,
    "noise": _draw_noise,
}


def draw_changes(transforms: Sequence[AnyChange], rng: np.random.Generator, *, still: bool = False) -> list[Move]:
    """Return one move for each transform that happens this time; `still` leaves out all that could lose a lesion."""
    moves: list[Move] = []
    for row in transforms:
        happens = row.name == "flip" or rng.random() < row.probability
        if not happens or (still and row.name not in ("flip", *DRAW_COLOUR)):
            continue
        move = DRAW_COLOUR[row.name](row, rng) if row.name in DRAW_COLOUR else DRAW_MOVE[row.name](row, rng, ())
        moves.append({"name": row.name, **(move or {})})
    return moves


def _apply(step: Any, image: Array, masks: Sequence[Array], seed: int = 0) -> tuple[Array, list[Array]]:
    import albumentations

    compose = albumentations.Compose([step])
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    changed = compose(image=image, masks=list(masks))
    return changed["image"], [np.asarray(mask) for mask in changed["masks"]]


def turned(image: Array, masks: Sequence[Array], moves: Sequence[Move], border: int) -> tuple[Array, list[Array]]:
    """Return image and masks scaled and turned about their middle, then shifted, in one step that samples once."""
    import albumentations

    factor = float(np.prod([move.get("factor", 1.0) for move in moves]))
    turn = float(sum(move.get("degrees", 0.0) for move in moves))
    shift = {axis: int(sum(move.get(axis, 0) for move in moves)) for axis in ("x", "y")}
    step = albumentations.Affine(
        scale=(factor, factor), rotate=(turn, turn), translate_px={axis: (by, by) for axis, by in shift.items()},
        keep_ratio=True, border_mode=border, mask_interpolation=cv2.INTER_NEAREST, p=1,
    )  # fmt: skip
    return _apply(step, image, masks)


def flipped(array: Array, move: Move) -> Array:
    """Return an image or mask mirrored as the move says."""
    array = array[:, ::-1] if move["x"] else array
    return np.ascontiguousarray(array[::-1] if move["y"] else array)


def _bent(image: Array, masks: Sequence[Array], move: Move, side: int, border: int) -> tuple[Array, list[Array]]:
    import albumentations

    sigma = max(1.0, move["smoothness"] * side)
    step = albumentations.ElasticTransform(
        alpha=move["strength"] * side * sigma / FIELD_RMS, sigma=sigma, noise_distribution="uniform",
        border_mode=border, mask_interpolation=cv2.INTER_NEAREST, p=1,
    )  # fmt: skip
    return _apply(step, image, masks, move["seed"])


def _both(warp: Callable, image: Array, masks: Sequence[Array], border: int) -> tuple[Array, list[Array]]:
    """Return the image, its labels and the lesion alone after a move; of the lesion no mirror image comes in."""
    if border == cv2.BORDER_CONSTANT:
        return warp(image, masks, border=border)
    moved, (labels,) = warp(image, masks[:1], border=border)
    return moved, [labels, *warp(image, masks[1:], border=cv2.BORDER_CONSTANT)[1]]


def _coloured(image: Array, move: Move) -> Array:
    import albumentations

    if move["name"] == "blur":
        sigma = move["sigma_px"]
        return _apply(albumentations.GaussianBlur(sigma_limit=(sigma, sigma), blur_limit=0, p=1), image, [])[0]
    if move["name"] == "noise":
        return _apply(albumentations.GaussNoise(std_range=(move["std"],) * 2, p=1), image, [], move["seed"])[0]
    still = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    values = {key: (move.get(key, value),) * 2 for key, value in still.items()}
    return _apply(albumentations.ColorJitter(**values, p=1), image, [])[0]


def apply_changes(image: Array, labels: Array, moves: Sequence[Move], border: str) -> tuple[Array, Array, float]:
    """Return the changed image, uint8 (H, W, 3), its labels, uint8 (H, W), and the share of the lesion that is lost.

    The frame is moved with room on all sides, so that what leaves it is known. With the border `reflect`, what comes
    in is the mirrored image with its mirrored lesions.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
    height, width = labels.shape
    up, left = height // 2, width // 2
    room = ((up, up), (left, left))
    mode: Any = "reflect" if border == "reflect" else "constant"
    canvas, masks = np.pad(image, (*room, (0, 0)), mode), [np.pad(labels, room, mode), np.pad(labels, room)]
    for affine, group in groupby((m for m in moves if m["name"] not in DRAW_COLOUR), lambda m: m["name"] in AFFINE):
        together = list(group)
        if affine:
            in_px = [{**m, "x": round(m.get("x", 0) * width), "y": round(m.get("y", 0) * height)} for m in together]
            canvas, masks = _both(partial(turned, moves=in_px), canvas, masks, BORDER[border])
            continue
        for move in together:
            if move["name"] == "flip":
                canvas, masks = flipped(canvas, move), [flipped(mask, move) for mask in masks]
            else:
                bend = partial(_bent, move=move, side=min(height, width))
                canvas, masks = _both(bend, canvas, masks, BORDER[border])
    inner = np.s_[up : up + height, left : left + width]
    before, kept = np.count_nonzero(masks[1]), np.count_nonzero(masks[1][inner])
    lost = (1 - kept / before if before else 1.0) if labels.any() else 0.0
    image = np.ascontiguousarray(canvas[inner])
    for move in (m for m in moves if m["name"] in DRAW_COLOUR):
        image = _coloured(image, move)
    return image, np.ascontiguousarray(masks[0][inner]), lost


def augment(image: Array, labels: Array, row: Augment, rng: np.random.Generator) -> Made:
    """Return a changed pair. Draws whose mask breaks a constraint are rejected; after `attempts` it keeps its place."""
    rejected: Counter[str] = Counter()
    for attempt in range(row.attempts + 1):
        last = attempt == row.attempts
        moves = draw_changes(row.transforms, rng, still=last)
        changed, changed_labels, lost = apply_changes(image, labels, moves, row.border)
        broken = broken_constraint(row.constraints, changed_labels, lost, labels, labels) if labels.any() else ""
        if last or not broken:
            break
        rejected[broken] += 1
    return Made(changed, changed_labels, moves, rejected)


def write_augmented(real: PairSet, name: str, row: Augment, folder: Path) -> PairSet:
    """Write `row.copies` changed pairs of each real one to `folder`, under the source `name`."""

    def make(_pair: Pair, image: Array, labels: Array, rng: np.random.Generator) -> Made:
        return augment(image, labels, row, rng)

    return write_made(real, name, row.copies, row.seed, make, folder)
