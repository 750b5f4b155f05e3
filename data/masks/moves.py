"""The transforms of masks: drawn as a list of plain moves, which provenance keeps, and applied by albumentations.

All moves but flip and shift are about the centre of the lesion, so that growing or turning it does not push it out of
the frame. A lesion is moved on a canvas of its own, with room for all of it, and set into the frame at the end: what is
lost at the border is then known. Labels are never mixed: every move takes the nearest pixel.
"""

import json
import os
import random
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from data.masks.config import Move, Transform

Array = np.ndarray
# Root mean square of albumentations' elastic field for alpha = sigma = 1: uniform noise in (-1, 1), Gaussian blur.
FIELD_RMS = 1 / np.sqrt(3) / (2 * np.sqrt(np.pi))


def draw_moves(
    transforms: Sequence[Transform], rng: np.random.Generator, donors: Sequence[str] = (), *, only: Collection[str] = ()
) -> list[Move]:
    """Return one move for each transform that happens this time; `only` leaves out all of other names.

    `donors` are the ids of the masks that a swap may take.
    """
    moves = []
    for row in transforms:
        if row.happens(rng) and (not only or row.name in only) and (move := row.draw(rng, donors)) is not None:
            moves.append({"name": row.name, **move})
    return moves


def donor_of(moves: Sequence[Move]) -> str:
    """Return the id of the mask whose lesion the moves end with, or an empty text when it is the parent's own."""
    return next((move["donor"] for move in reversed(moves) if move["name"] == "swap"), "")


def _center(labels: Array) -> tuple[int, int]:
    """Return the pixel (x, y) that lies nearest to the centre of the lesion."""
    ys, xs = np.nonzero(labels)
    return round(float(xs.mean())), round(float(ys.mean()))


def _radius(labels: Array) -> float:
    """Return the distance in px from the centre of the lesion to its farthest pixel, along an axis, plus one."""
    x, y = _center(labels)
    ys, xs = np.nonzero(labels)
    return float(max(np.abs(xs - x).max(), np.abs(ys - y).max())) + 1


def _centered(labels: Array, reach: int) -> Array:
    """Return a canvas (2 * reach + 1, 2 * reach + 1) with the lesion about its middle pixel."""
    x, y = _center(labels)
    room = np.pad(labels, reach)
    return np.ascontiguousarray(room[y : y + 2 * reach + 1, x : x + 2 * reach + 1])


def library() -> Any:
    """Return albumentations, whose import asks the network for a newer version unless it is told not to."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def applied(step: Any, image: Array, masks: Sequence[Array] = (), seed: int = 0) -> tuple[Array, list[Array]]:
    """Return image and masks after one transform of albumentations, whose own draws depend on the seed alone."""
    compose = library().Compose([step])
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    changed = compose(image=image, masks=list(masks))
    return changed["image"], [np.asarray(mask) for mask in changed["masks"]]


def turned(
    image: Array, masks: Sequence[Array], moves: Sequence[Move], border: int = cv2.BORDER_CONSTANT
) -> tuple[Array, list[Array]]:
    """Return image and masks scaled and turned about their middle, then shifted, in one step that samples once.

    Each step that takes the nearest pixel would roughen the outline anew.
    """
    factor = float(np.prod([move.get("factor", 1.0) for move in moves]))
    turn = float(sum(move.get("degrees", 0.0) for move in moves))
    shift = {axis: int(sum(move.get(axis, 0) for move in moves)) for axis in ("x", "y")}
    step = library().Affine(
        scale=(factor, factor), rotate=(turn, turn), translate_px={axis: (by, by) for axis, by in shift.items()},
        keep_ratio=True, border_mode=border, mask_interpolation=cv2.INTER_NEAREST, p=1,
    )  # fmt: skip
    return applied(step, image, masks)


def flipped(array: Array, move: Move) -> Array:
    """Return an image or mask mirrored as the move says."""
    array = array[:, ::-1] if move["x"] else array
    return np.ascontiguousarray(array[::-1] if move["y"] else array)


def bent(
    image: Array, masks: Sequence[Array], move: Move, side: float, border: int = cv2.BORDER_CONSTANT
) -> tuple[Array, list[Array]]:
    """Return image and masks bent by a smooth field; strength and smoothness of the move are shares of `side`."""
    sigma = max(1.0, move["smoothness"] * side)
    step = library().ElasticTransform(
        alpha=move["strength"] * side * sigma / FIELD_RMS, sigma=sigma, noise_distribution="uniform",
        border_mode=border, mask_interpolation=cv2.INTER_NEAREST, p=1,
    )  # fmt: skip
    return applied(step, image, masks, move["seed"])


def apply_moves(labels: Array, moves: Sequence[Move], donor: Callable[[str], Array]) -> tuple[Array, float]:
    """Return the moved labels, uint8 (H, W), and the share of the lesion that left the frame, 0-1.

    `donor` gives the labels of the real pair with an id. Labels without lesion stay as they are.
    """
    if not labels.any():
        return labels, 0.0
    height, width = labels.shape
    x, y = _center(labels)
    source = donor(donor_of(moves)) if donor_of(moves) else labels
    if not source.any():
        return np.zeros_like(labels), 0.0
    growth = float(np.prod([max(1.0, move["factor"]) for move in moves if move["name"] == "scale"]))
    bend = 1 + 4 * sum(move["strength"] for move in moves if move["name"] == "elastic")
    canvas = _centered(source, int(np.ceil(max(_radius(source), _radius(labels)) * 1.5 * growth * bend)) + 1)
    for similar, group in groupby(moves, key=lambda move: move["name"] in ("scale", "rotate")):
        together = list(group)
        if similar:
            canvas = turned(canvas, [canvas], together)[1][0]
            continue
        for move in together:
            if move["name"] == "flip":
                canvas = flipped(canvas, move)
                x, y = (width - 1 - x if move["x"] else x), (height - 1 - y if move["y"] else y)
            elif move["name"] == "shift":
                x, y = x + round(move["x"] * width), y + round(move["y"] * height)
            elif move["name"] == "elastic":
                canvas = bent(canvas, [canvas], move, _radius(canvas))[1][0] if canvas.any() else canvas
    return _set_into(canvas, x, y, (height, width))


def _set_into(canvas: Array, x: int, y: int, shape: tuple[int, int]) -> tuple[Array, float]:
    """Return a frame with the middle of the canvas at pixel (x, y), and the share of the lesion that lies outside."""
    reach = canvas.shape[0] // 2
    frame = np.zeros(shape, np.uint8)
    top, left = max(0, y - reach), max(0, x - reach)
    bottom, right = min(shape[0], y + reach + 1), min(shape[1], x + reach + 1)
    if top < bottom and left < right:
        up, across = reach - y, reach - x
        frame[top:bottom, left:right] = canvas[top + up : bottom + up, left + across : right + across]
    total = np.count_nonzero(canvas)
    return frame, 1 - np.count_nonzero(frame) / total if total else 0.0


def moves_as_text(moves: Sequence[Move]) -> str:
    """Return the moves as one line of JSON, from which `apply_moves` makes the same mask again."""
    return json.dumps(list(moves), sort_keys=True)
