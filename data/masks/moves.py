"""The transforms of masks: drawn as a list of plain moves, which provenance keeps, and applied by albumentations.

All moves but flip and shift are about the centre of the lesion, so that growing or turning it does not push it out of
the frame. A lesion is moved on a canvas of its own, with room for all of it, and set into the frame at the end: what is
lost at the border is then known. Labels are never mixed: every move takes the nearest pixel.
"""

import json
import os
import random
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from data.masks.config import AnyTransform, Elastic, Flip, Rotate, Scale, Shift, Swap

Array = np.ndarray
Move = dict[str, Any]
Draw = Callable[[Any, np.random.Generator, Sequence[str]], Move | None]
# Root mean square of albumentations' elastic field for alpha = sigma = 1: uniform noise in (-1, 1), Gaussian blur.
FIELD_RMS = 1 / np.sqrt(3) / (2 * np.sqrt(np.pi))


def _draw_flip(row: Flip, rng: np.random.Generator, _donors: Sequence[str]) -> Move:
    return {"x": bool(rng.random() < row.probability), "y": bool(rng.random() < row.probability)}


def _draw_scale(row: Scale, rng: np.random.Generator, _donors: Sequence[str]) -> Move:
    # On a log scale, so that halving and doubling are equally likely.
    return {"factor": float(np.exp(rng.uniform(*np.log(row.factor))))}


def _draw_rotate(row: Rotate, rng: np.random.Generator, _donors: Sequence[str]) -> Move:
    return {"degrees": float(rng.uniform(*row.degrees))}


def _draw_shift(row: Shift, rng: np.random.Generator, _donors: Sequence[str]) -> Move:
    x, y = rng.uniform(-row.most, row.most, 2)
    return {"x": float(x), "y": float(y)}


def _draw_elastic(row: Elastic, rng: np.random.Generator, _donors: Sequence[str]) -> Move:
    return {"strength": row.strength, "smoothness": row.smoothness, "seed": int(rng.integers(2**31))}


def _draw_swap(_row: Swap, rng: np.random.Generator, donors: Sequence[str]) -> Move | None:
    return {"donor": donors[int(rng.integers(len(donors)))]} if donors else None


DRAW: dict[str, Draw] = {
    "flip": _draw_flip,
    "scale": _draw_scale,
    "rotate": _draw_rotate,
    "shift": _draw_shift,
    "elastic": _draw_elastic,
    "swap": _draw_swap,
}


def draw_moves(
    transforms: Sequence[AnyTransform], rng: np.random.Generator, donors: Sequence[str], *, only: str = ""
) -> list[Move]:
    """Return one move for each transform that happens this time; `only` leaves out all of another name.

    `donors` are the ids of the masks that a swap may take.
    """
    moves = []
    for row in transforms:
        happens = row.name == "flip" or rng.random() < row.probability
        if happens and only in ("", row.name) and (move := DRAW[row.name](row, rng, donors)) is not None:
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


def _albumentations(step: Any, canvas: Array, seed: int = 0) -> Array:
    import albumentations

    compose = albumentations.Compose([step])
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return compose(image=canvas, mask=canvas)["mask"]


def _similar(canvas: Array, moves: Sequence[Move]) -> Array:
    """Scale and turn in one step, because each step that takes the nearest pixel roughens the outline."""
    import albumentations

    factor = float(np.prod([move.get("factor", 1.0) for move in moves]))
    turn = float(sum(move.get("degrees", 0.0) for move in moves))
    step = albumentations.Affine(
        scale=(factor, factor), rotate=(turn, turn), keep_ratio=True, mask_interpolation=cv2.INTER_NEAREST, p=1
    )
    return _albumentations(step, canvas)


def _bend(canvas: Array, move: Move) -> Array:
    import albumentations

    radius = _radius(canvas)
    sigma = max(1.0, move["smoothness"] * radius)
    alpha = move["strength"] * radius * sigma / FIELD_RMS
    step = albumentations.ElasticTransform(
        alpha=alpha, sigma=sigma, noise_distribution="uniform", mask_interpolation=cv2.INTER_NEAREST, p=1
    )
    return _albumentations(step, canvas, move["seed"])


def apply_moves(labels: Array, moves: Sequence[Move], donor: Callable[[str], Array]) -> tuple[Array, float]:
    """Return the moved labels, uint8 (H, W), and the share of the lesion that left the frame, 0-1.

    `donor` gives the labels of the real pair with an id. Labels without lesion stay as they are.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
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
            canvas = _similar(canvas, together)
            continue
        for move in together:
            if move["name"] == "flip":
                canvas = canvas[:, ::-1] if move["x"] else canvas
                canvas = np.ascontiguousarray(canvas[::-1] if move["y"] else canvas)
                x, y = (width - 1 - x if move["x"] else x), (height - 1 - y if move["y"] else y)
            elif move["name"] == "shift":
                x, y = x + round(move["x"] * width), y + round(move["y"] * height)
            elif move["name"] == "elastic":
                canvas = _bend(canvas, move) if canvas.any() else canvas
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
