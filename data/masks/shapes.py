"""Drawn lesions: where, how many and how large as in the training masks, with smooth outlines that are like theirs.

A training mask, the model, gives number, sizes and places, each moved a little; for each lesion another one of about
that size gives its outline: the ratio and turn of its axes, and how strongly each wave of its radius swings. Where on
the outline the waves begin is random, so that no outline is a real one. Outlines are star-shaped: holes, rings and
networks are not drawn.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np

from data.masks.constraints import Array
from data.pairs.errors import UserError
from data.pairs.manifest import PairSet, class_names, content
from data.pairs.seeds import item_seed

SPREAD = 0.25  # by how much sizes and places differ from the model's, in standard deviations over all lesions
WAVES = 8  # of the radius once around: finer ones are steps of pixels
FINEST_PX = 20  # smaller lesions have no outline to speak of
POINTS, SUPERSAMPLING, TURNS = 128, 4, 8
USUAL = 0.9
LIKE = 4  # outlines come from that part of all lesions that is nearest in size, at least from so many lesions


class Lesion(NamedTuple):
    """A piece of a training mask."""

    area: float  # share of the frame
    center: tuple[float, float]  # x, y as shares of width and height
    stretch: float  # long axis over short one
    turn: float  # of the long axis against x, in radians
    waves: tuple[float, ...]  # how strongly the logarithm of the radius swings once, twice, ... around


class Lesions(NamedTuple):
    """All lesions of a data set."""

    masks: Mapping[str, tuple[Lesion, ...]]  # id of the training pair -> those of its mask; none without lesion
    every: tuple[Lesion, ...]
    values: Array  # (N, 3): logarithm of the area, x, y


class Drawn(NamedTuple):
    """A mask, uint8 (H, W) in {0, 1}, and what it was drawn from."""

    labels: Array
    lost: float  # share of the outlines' area that lies outside the frame, 0-1
    text: str  # one line of JSON
    apart: bool  # whether there are as many pieces as lesions


def _waves(piece: Array, stretch: float, turn: float) -> tuple[float, ...]:
    """Return how strongly the log radius of a piece, uint8 (H, W), swings about its ellipse, per wave from the second.

    Its first wave would only shift the outline.
    """
    ys, xs = np.nonzero(piece)
    if len(xs) < FINEST_PX:
        return (0.0,) * (WAVES - 1)
    contours, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(contours, key=len)[:, 0].astype(float)
    x, y = (points - (xs.mean(), ys.mean())).T
    along = (x * np.cos(turn) + y * np.sin(turn)) / np.sqrt(stretch)
    across = (y * np.cos(turn) - x * np.sin(turn)) * np.sqrt(stretch)
    angle, radius = np.arctan2(across, along), np.maximum(np.hypot(along, across), 0.5)
    order = np.argsort(angle, kind="stable")
    even = np.linspace(-np.pi, np.pi, POINTS, endpoint=False)
    log_radius = np.interp(even, angle[order], np.log(radius[order]), period=2 * np.pi)
    swings = 2 * np.abs(np.fft.rfft(log_radius)) / POINTS
    return tuple(float(swing) for swing in swings[2 : WAVES + 1])


def lesions_of(labels: Array) -> tuple[Lesion, ...]:
    """Return the lesions of a mask (H, W), each a piece of it."""
    count, pieces, stats, centers = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8), connectivity=8)
    height, width = labels.shape
    found = []
    for number in range(1, count):
        piece = (pieces == number).astype(np.uint8)
        ys, xs = np.nonzero(piece)
        spread = np.cov(np.stack([xs, ys]), bias=True) + np.eye(2) / 12  # a pixel has a width
        (short, long), axes = np.linalg.eigh(spread)
        stretch, turn = float(np.sqrt(long / short)), float(np.arctan2(axes[1, 1], axes[0, 1]))
        x, y = centers[number]
        center = (float((x + 0.5) / width), float((y + 0.5) / height))
        area = float(stats[number, cv2.CC_STAT_AREA]) / labels.size
        found.append(Lesion(area, center, stretch, turn, _waves(piece, stretch, turn)))
    return tuple(found)


def together(masks: Mapping[str, tuple[Lesion, ...]]) -> Lesions:
    """Return all lesions of some masks, by id. Waves are cut at what nine of ten lesions have, or spikes are drawn."""
    every = [lesion for lesions in masks.values() for lesion in lesions]
    most = np.quantile([lesion.waves for lesion in every], USUAL, axis=0) if every else ()
    cut = [lesion._replace(waves=tuple(np.minimum(lesion.waves, most).tolist())) for lesion in every]
    return Lesions(masks, tuple(cut), np.array([(np.log(lesion.area), *lesion.center) for lesion in every]))


def measured(real: PairSet, name: str) -> Lesions:
    """Return the lesions of the training masks. Raises: UserError for several classes, and where there is none."""
    if len(classes := class_names(real.pairs[0])) > 1:
        what_to_do = "masks of kind transformed keep classes apart"
        raise UserError(f"masks.{name}: shapes are of one class of lesion, not of {', '.join(classes)}: {what_to_do}")
    lesions = together({pair.id: lesions_of(content(pair, real.labels(pair))) for pair in real.pairs})
    if not lesions.every:
        raise UserError(f"masks.{name}: no training mask has a lesion whose size and place could be taken up")
    return lesions


def _outline(rng: np.random.Generator, lesion: Lesion) -> Array:
    """Return (POINTS, 2), x before y: a closed curve about 0 of the area pi, like the outline of a lesion."""
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    begin = rng.uniform(0, 2 * np.pi, len(lesion.waves))
    swings = [
        swing * np.cos(wave * angle + at) for wave, (swing, at) in enumerate(zip(lesion.waves, begin, strict=True), 2)
    ]
    radius = np.exp(np.sum(swings, axis=0))
    along, across = radius * np.cos(angle) * np.sqrt(lesion.stretch), radius * np.sin(angle) / np.sqrt(lesion.stretch)
    cos, sin = np.cos(lesion.turn), np.sin(lesion.turn)
    points = np.stack([along * cos - across * sin, along * sin + across * cos], axis=1)
    return points * np.sqrt(np.pi / _area(points))


def _area(points: Array) -> float:
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _filled(points: Array, shape: tuple[int, int]) -> Array:
    """Return uint8 (H, W) in {0, 1}: 1 where most of a pixel lies within a closed curve, given in px."""
    big = np.zeros((shape[0] * SUPERSAMPLING, shape[1] * SUPERSAMPLING), np.uint8)
    cv2.fillPoly(big, [np.round(points * SUPERSAMPLING - 0.5).astype(np.int32)], 255)
    return (cv2.resize(big, shape[::-1], interpolation=cv2.INTER_AREA) > 127).astype(np.uint8)


def _placed(outline: Array, area_px: float, center_px: Array, shape: tuple[int, int]) -> tuple[Array, float]:
    """Return uint8 (H, W) in {0, 1} with so many pixels about that centre, and the area of its whole outline in px.

    Area and centre are of what can be seen: the outline of a lesion that the frame cuts reaches beyond it.
    """
    scale, middle = np.sqrt(area_px / np.pi), np.array(center_px)
    for _ in range(TURNS):
        piece = _filled(outline * scale + middle, shape)
        ys, xs = np.nonzero(piece)
        if not len(xs):
            break
        off = center_px - (xs.mean() + 0.5, ys.mean() + 0.5)
        if abs(len(xs) - area_px) <= max(0.5, 0.01 * area_px) and np.abs(off).max() < 0.5:
            break
        scale, middle = scale * np.sqrt(area_px / len(xs)), middle + off
    return piece, np.pi * scale**2


def models_of(lesions: Lesions, seed: int, copy: int) -> dict[str, str]:
    """Return id of each training mask with a lesion -> id of the model of the drawn one in its place.

    In each copy every such mask is the model once, so that numbers, sizes and places are those of the data set.
    """
    ids = sorted(name for name, of_mask in lesions.masks.items() if of_mask)
    return dict(zip(ids, sorted(ids, key=lambda name: item_seed(seed, "model", copy, name)), strict=True))


def draw(lesions: Lesions, model: str, shape: tuple[int, int], rng: np.random.Generator) -> Drawn:
    """Return a drawn mask of this height and width after a training mask."""
    spread, low, high = (of(lesions.values, axis=0) for of in (np.std, np.min, np.max))
    labels, whole, outlines = np.zeros(shape, np.uint8), 0.0, []
    for own in lesions.masks[model]:
        value = np.array([np.log(own.area), *own.center]) + SPREAD * spread * rng.standard_normal(3)
        log_area, x, y = np.clip(value, low, high)
        like = np.argsort(np.abs(lesions.values[:, 0] - log_area), kind="stable")
        near = like[: max(LIKE, len(like) // LIKE)]
        donor = int(near[rng.integers(len(near))])
        outline = _outline(rng, lesions.every[donor])
        piece, area_px = _placed(outline, np.exp(log_area) * labels.size, np.array([x * shape[1], y * shape[0]]), shape)
        labels |= piece
        whole += area_px
        outlines.append(donor)
    apart = cv2.connectedComponents(labels, connectivity=8)[0] - 1 == len(lesions.masks[model])
    lost = max(0.0, 1 - np.count_nonzero(labels) / whole)
    text = json.dumps([{"name": "shapes", "model": model, "outlines": outlines}], sort_keys=True)
    return Drawn(labels, lost, text, apart)
