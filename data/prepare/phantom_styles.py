"""Further phantoms: skin and surfaces beside the endoscopy of phantom.py, and test sets that differ from training.

A look says what is drawn. A style says how a pair differs from the plain ones of its look: `same` changes nothing, and
every other changes what its name says, so that a test set of that style asks for generalisation in that one respect.
As in phantom.py an image is a function of (look, style, seed, id, size), and the mask is exact.
"""

from typing import NamedTuple

import cv2
import numpy as np

from data.pairs.seeds import item_seed
from data.prepare.config import Look, Style
from data.prepare.phantom import (
    RADII,
    SUPERSAMPLING,
    Array,
    coverage,
    draw_lesion,
    draw_phantom,
    finished,
    highlights,
    outline,
    smooth_noise,
)

Radii = tuple[float, float]


class Change(NamedTuple):
    """How a style differs from what training pairs look like; the defaults change nothing."""

    radii: Radii = RADII  # of the lesion, shares of the side
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of red, green, blue
    contrast: float = 1.0  # of the lesion against its surroundings
    blur: float = 0.0  # standard deviation, share of the side
    glare: int = 0  # groups of further highlights


CHANGES: dict[Style, Change] = {
    "same": Change(),
    "near": Change(gain=(0.96, 1.0, 1.06), contrast=0.9),
    "colour": Change(gain=(0.78, 1.0, 1.12)),
    "faint": Change(contrast=0.5),
    "small": Change(radii=(0.08, 0.13)),
    "blur": Change(blur=0.02),
    "glare": Change(glare=5),
}


def _changed(rng: np.random.Generator, image: Array, mask: Array, change: Change) -> Array:
    """Return the image, uint8 (H, W, 3), with what the change says of colour, contrast, blur and glare."""
    side = len(image)
    made: Array = image.astype(np.float32)
    if change.contrast != 1:  # the lesion comes nearer to the mean colour of the rest, fading in at its edge
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.02 * side)[..., None]
        made = made + (1 - change.contrast) * soft * (made[mask == 0].mean(axis=0) - made)
    made = made * np.array(change.gain, np.float32)
    if change.blur:
        made = cv2.GaussianBlur(made, (0, 0), change.blur * side)
    for _ in range(change.glare):
        bright = highlights(rng, side, tuple(rng.uniform(0.2, 0.8, 2)), 0.3)[..., None]
        made = made * (1 - 0.85 * bright) + 0.85 * bright * 255
    return np.round(np.clip(made, 0, 255)).astype(np.uint8)


def _hairs(rng: np.random.Generator, size_px: int) -> Array:
    """Return float32 (size, size) in 0-1: a few long bent hairs that cross the frame."""
    big = np.zeros((size_px * SUPERSAMPLING,) * 2, np.float32)
    steps = np.linspace(0, 1, 40)[:, None]
    for _ in range(int(rng.integers(0, 8))):
        start, bend, end = rng.uniform(-0.1, 1.1, (3, 2))
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        width = max(1, round(rng.uniform(0.006, 0.013) * size_px * SUPERSAMPLING))
        points = np.round(curve * size_px * SUPERSAMPLING).astype(np.int32)
        cv2.polylines(big, [points], False, float(rng.uniform(0.7, 1.0)), width, cv2.LINE_AA)
    return np.clip(cv2.resize(big, (size_px, size_px), interpolation=cv2.INTER_AREA), 0, 1)


def _draw_skin(seed: int, pair_id: str, size_px: int, radii: Radii | None) -> tuple[Array, Array]:
    """Return image and mask of a pigmented lesion on skin, as a dermatoscope shows it, with spots and hairs."""
    rng = np.random.default_rng(item_seed("skin", seed, pair_id))
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px

    tint = np.array([0.86, 0.66, 0.56], np.float32) + rng.normal(0, 0.04) + rng.normal(0, 0.02, 3).astype(np.float32)
    shade = 1.03 - rng.uniform(0.3, 0.8) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    image = tint * (shade + 0.02 * smooth_noise(rng, size_px, 5) + 0.018 * smooth_noise(rng, size_px, 22))[..., None]

    brown = np.array([0.42, 0.25, 0.17], np.float32) + rng.normal(0, 0.04, 3).astype(np.float32)
    for _ in range(int(rng.integers(1, 5))):  # freckles and age spots: brown too, but without a network
        place, size = tuple(rng.uniform(0.08, 0.92, 2)), rng.uniform(0.02, 0.11)
        soft = cv2.GaussianBlur(coverage(outline(rng, size_px, size, place), size_px), (0, 0), 0.015 * size_px)
        opacity = rng.uniform(0.2, 0.45) * soft[..., None]
        image = image * (1 - opacity) + opacity * brown

    radius, center, inside = draw_lesion(rng, size_px, radii)
    soft = cv2.GaussianBlur(inside, (0, 0), rng.uniform(0.012, 0.022) * size_px)[..., None]
    network = 1 - np.abs(smooth_noise(rng, size_px, 14))[..., None]  # dark lines around lighter holes
    darker = np.clip(1 - ((x - center[0]) ** 2 + (y - center[1]) ** 2) / radius**2, 0, 1)[..., None]
    patches = smooth_noise(rng, size_px, 5)[..., None]
    pigment = brown * (1.12 - 0.32 * darker - 0.25 * network + 0.1 * patches)
    opacity = rng.uniform(0.3, 0.9) * soft
    image = image * (1 - opacity) + opacity * pigment

    hairs = _hairs(rng, size_px)[..., None]
    image = image * (1 - 0.8 * hairs) + 0.8 * hairs * np.array([0.16, 0.11, 0.09], np.float32)
    return finished(rng, image, inside, 0.008)


def _weave(rng: np.random.Generator, size_px: int) -> Array:
    """Return float32 (size, size) in about -1 to 1: warp and weft of a cloth, 9 to 14 threads across the frame."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px
    turn, threads = rng.uniform(0, np.pi), rng.uniform(9, 14)
    bend = 0.25 * smooth_noise(rng, size_px, 3)
    u = 2 * np.pi * threads * (x * np.cos(turn) + y * np.sin(turn)) + bend
    v = 2 * np.pi * threads * (-x * np.sin(turn) + y * np.cos(turn)) + bend
    return (0.5 * np.sin(u) + 0.5 * np.sin(v)).astype(np.float32)


def _draw_surface(seed: int, pair_id: str, size_px: int, radii: Radii | None) -> tuple[Array, Array]:
    """Return image and mask of a stain in woven cloth, whose creases, damp places and shadows are harmless."""
    rng = np.random.default_rng(item_seed("surface", seed, pair_id))
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px

    grey = rng.uniform(0.5, 0.72)
    cloth = grey + np.array([0.0, -0.01, -0.04], np.float32) + rng.normal(0, 0.03, 3).astype(np.float32)
    slope = rng.uniform(-0.25, 0.25, 2)
    shade = 1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5) + 0.11 * _weave(rng, size_px)
    creases = np.exp(-((smooth_noise(rng, size_px, 1.5) - rng.uniform(-0.8, 0.8)) ** 2) / 0.01)
    shade += 0.03 * smooth_noise(rng, size_px, 4) + 0.04 * smooth_noise(rng, size_px, 28) - 0.16 * creases

    for _ in range(int(rng.integers(1, 4))):  # worn or damp places: darker too, but without a ring and a colour
        place, size = tuple(rng.uniform(0.08, 0.92, 2)), rng.uniform(0.05, 0.15)
        soft = cv2.GaussianBlur(coverage(outline(rng, size_px, size, place), size_px), (0, 0), 0.02 * size_px)
        shade -= rng.uniform(0.1, 0.3) * soft

    _, _, inside = draw_lesion(rng, size_px, radii)
    soft = cv2.GaussianBlur(inside, (0, 0), 0.01 * size_px)
    deep = cv2.GaussianBlur(inside, (0, 0), 0.05 * size_px)
    rim = soft * np.clip(1.5 - 1.5 * deep, 0, 1)  # what dries last leaves a ring
    strength = rng.uniform(0.25, 1) * (soft * (0.75 + 0.12 * smooth_noise(rng, size_px, 5)) + 0.5 * rim)
    dye = np.array([0.72, 0.55, 0.4], np.float32) + rng.normal(0, 0.05, 3).astype(np.float32)
    image = cloth * shade[..., None] * (1 - strength[..., None] * (1 - dye))  # the weave shows through
    return finished(rng, image, inside, 0.01)


LOOKS = {"endoscopy": draw_phantom, "skin": _draw_skin, "surface": _draw_surface}


def draw_pair(
    look: Look, style: Style, seed: int, pair_id: str, size_px: int, *, lesion: bool = True
) -> tuple[Array, Array]:
    """Return the image, uint8 (size, size, 3), and the mask, uint8 (size, size) in {0, 1}, of one drawn pair."""
    change = CHANGES[style]
    image, mask = LOOKS[look](seed, pair_id, size_px, change.radii if lesion else None)
    if style == "same":
        return image, mask
    rng = np.random.default_rng(item_seed("style", style, seed, pair_id))
    return _changed(rng, image, mask, change), mask
