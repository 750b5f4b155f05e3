"""Cut and paste: a lesion of one real pair, set into the image of another beside the lesion that is there.

This is not what the paper calls "Copy-Paste", which is the real set twice (`duplicate`). The receiver's own lesion is
always kept: without it the image would have to be painted over, which is a generator's work. So a pair has one lesion
more than its receiver, and its mask is the union of both.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.baselines.config import CutPaste
from data.baselines.made_pairs import Array, Made, Move, write_made
from data.masks.moves import flipped, turned
from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet, content
from data.pairs.parallel import threaded

LEAST_PX, BLACK = 16, 16  # pixels of a lesion that is worth cutting, greatest channel of what counts as black
PLACES = 10  # that are tried before another lesion is drawn: a new one each time would favour small ones


class Piece(NamedTuple):
    """A cut lesion about the middle of a square canvas, with its surroundings."""

    image: Array  # uint8 (S, S, 3)
    labels: Array  # uint8 (S, S)


def whole_lesions(labels: Array) -> Iterator[Array]:
    """Yield the labels, uint8 (H, W), of each connected lesion that does not touch the border: none is cut by it."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8), connectivity=8)
    height, width = labels.shape
    for number in range(1, count):
        x, y, across, down, area = stats[number]
        if area >= LEAST_PX and x > 0 and y > 0 and x + across < width and y + down < height:
            yield np.where(parts == number, labels, 0).astype(np.uint8)


def cut(image: Array, lesion: Array, moves: Sequence[Move], edge_px: int) -> Piece:
    """Return a lesion that is flipped, scaled and turned about its middle, with at least `edge_px` around it."""
    x, y, across, down = cv2.boundingRect(lesion)
    factors = [move.get("factor", 1.0) for move in moves]
    growth, shrinkage = (float(np.prod([limit(1.0, factor) for factor in factors])) for limit in (max, min))
    reach = int(np.ceil(np.hypot(across, down) / 2 * growth + (edge_px + 2) / shrinkage))
    room = ((reach, reach), (reach, reach))
    window = np.s_[y + down // 2 : y + down // 2 + 2 * reach + 1, x + across // 2 : x + across // 2 + 2 * reach + 1]
    canvas = np.ascontiguousarray(np.pad(image, (*room, (0, 0)), "symmetric")[window])
    labels = np.ascontiguousarray(np.pad(lesion, room)[window])
    for flips, group in groupby(moves, lambda move: move["name"] == "flip"):
        together = list(group)
        if flips:
            for move in together:
                canvas, labels = flipped(canvas, move), flipped(labels, move)
        else:
            canvas, (labels,) = turned(canvas, [labels], together)
    return Piece(canvas, labels)


def _place(piece: Piece, image: Array, rng: np.random.Generator, margin: int) -> tuple[Array, Array] | None:
    """Return `image` with the piece's surroundings in it, and its labels, at a random place that holds all of it."""
    x, y, across, down = cv2.boundingRect(piece.labels)
    most_x, most_y = image.shape[1] - across - margin, image.shape[0] - down - margin
    if not across or most_x < margin or most_y < margin:
        return None
    left, top = int(rng.integers(margin, most_x + 1)), int(rng.integers(margin, most_y + 1))
    here = np.s_[top - margin : top + down + margin, left - margin : left + across + margin]
    there = np.s_[y - margin : y + down + margin, x - margin : x + across + margin]
    framed, labels = image.copy(), np.zeros(image.shape[:2], np.uint8)
    framed[here], labels[here] = piece.image[there], piece.labels[there]
    return framed, labels


def _alpha(lesion: Array, edge_px: int) -> Array:
    """Return float32 (H, W, 1): 1 on the lesion, which is all the donor's, falling to 0 over `edge_px`."""
    away = cv2.distanceTransform((lesion == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.clip(1 - away / (edge_px + 1), 0, 1)[..., None]


def _blend_alpha(image: Array, donor: Array, lesion: Array, edge_px: int) -> Array:
    alpha = _alpha(lesion, edge_px)
    return np.round(alpha * donor + (1 - alpha) * image).astype(np.uint8)


def _blend_poisson(image: Array, donor: Array, lesion: Array, edge_px: int) -> Array:
    mask = (_alpha(lesion, edge_px)[..., 0] > 0).astype(np.uint8) * np.uint8(255)
    x, y, across, down = cv2.boundingRect(mask)
    return cv2.seamlessClone(donor, image, mask, (x + across // 2, y + down // 2), cv2.NORMAL_CLONE)


BLEND: dict[str, Callable[[Array, Array, Array, int], Array]] = {"alpha": _blend_alpha, "poisson": _blend_poisson}


def _broken(row: CutPaste, image: Array, labels: Array, pasted: Array) -> str:
    here = pasted > 0
    shared = np.count_nonzero(labels[here])
    if shared > row.overlap * min(np.count_nonzero(here), np.count_nonzero(labels) or 1):
        return "overlap"
    if (image[here].max(-1) < BLACK).mean() > row.black:
        return "black"
    return "" if row.area[0] <= ((labels > 0) | here).mean() <= row.area[1] else "area"


def paste(
    image: Array,
    labels: Array,
    donors: Sequence[str],
    read: Callable[[str], tuple[Array, Array]],
    row: CutPaste,
    rng: np.random.Generator,
) -> Made:
    """Return a pair with a lesion of one of the `donors` in it, or as it came where no draw fits.

    `read` gives image and labels of the real pair with an id. Where the two lesions overlap the pasted one lies on top.
    """
    rejected: Counter[str] = Counter()
    for attempt in range(row.attempts):
        if attempt % PLACES == 0:
            donor = donors[int(rng.integers(len(donors)))]
            donor_image, donor_labels = read(donor)
            lesions = list(whole_lesions(donor_labels))
            lesion = lesions[int(rng.integers(len(lesions)))]
            happen = [step for step in row.transforms if step.happens(rng)]  # all drawn before the first of their moves
            moves: list[Move] = [{"name": step.name, **step.draw(rng, ())} for step in happen]
            piece = cut(donor_image, lesion, moves, row.edge_px)
        placed = _place(piece, image, rng, row.edge_px + 1)
        broken = _broken(row, image, labels, placed[1]) if placed else "frame"
        if placed and not broken:
            framed, pasted = placed
            union = np.where(pasted > 0, pasted, labels)
            return Made(BLEND[row.blend](image, framed, pasted, row.edge_px), union, moves, rejected, donor)
        rejected[broken] += 1
    return Made(image, labels, [], rejected)


def write_cut_paste(real: PairSet, name: str, row: CutPaste, folder: Path) -> PairSet:
    """Write `row.copies` pairs for each real one to `folder`; `parent` is the receiver, `donor` gave the lesion.

    Raises: UserError when fewer than two pairs have a lesion that lies wholly within the frame.
    """

    def read_labels(pair: Pair) -> Array:
        return content(pair, real.labels(pair))

    whole = threaded(
        lambda pair: next(whole_lesions(read_labels(pair)), None), real.pairs, title="lesions", unit="pair"
    )
    donors = {pair.id: pair for pair, lesion in zip(real.pairs, whole, strict=True) if lesion is not None}
    if len(donors) < 2:
        raise UserError(
            f"baselines.{name}: {len(donors)} of {len(real)} training pairs have a lesion that does not touch the "
            "border: cut-and-paste needs two of them"
        )

    def read(name: str) -> tuple[Array, Array]:
        return content(donors[name], real.image(donors[name])), read_labels(donors[name])

    def make(parent: Pair, image: Array, labels: Array, rng: np.random.Generator) -> Made:
        others = sorted(donors.keys() - {parent.id})
        return paste(image, labels, others, read, row, rng)

    return write_made(real, name, row, make, folder)
