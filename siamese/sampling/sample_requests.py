"""What a sample is asked for: a mask, a seed, and what else the method needs."""

from typing import NamedTuple

import numpy as np

from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet

SHOWN = 4  # ids in an error


class Request(NamedTuple):
    """One image to make. Every draw comes from `seed`, so that no image depends on its batch."""

    id: str
    mask: np.ndarray  # (H, W) in [0, 1], as PairSet.hint gives it
    seed: int
    reference: np.ndarray | None = None  # uint8 (H, W, 3): the real image that the mask belongs to


def own_parents(masks: PairSet, real: PairSet | None) -> dict[str, Pair]:
    """Return for each mask's id the real pair that it is the mask of.

    Raises: UserError, with ids, when a mask was moved or its parent is not among the real pairs: beside another image
    it would say that a lesion is where none is.
    """
    if real is None:
        raise UserError("this generator samples with the real image of each mask: the training pairs are needed")
    parents = {pair.id: pair for pair in real.pairs}
    orphans = [pair.id for pair in masks.pairs if pair.parent not in parents]
    moved = [
        pair.id
        for pair in masks.pairs
        if pair.parent in parents and not np.array_equal(masks.labels(pair), real.labels(parents[pair.parent]))
    ]
    problems = [
        f"{len(ids)} {what}, such as {', '.join(ids[:SHOWN])}"
        for ids, what in ((moved, "masks are not those of their images"), (orphans, "masks have no image in training"))
        if ids
    ]
    if problems:
        advice = "take masks of kind: real for this generator, or a generator that needs no image"
        raise UserError(
            "this generator pairs each mask with its own real image, and never with another one", [*problems, advice]
        )
    return {pair.id: parents[pair.parent] for pair in masks.pairs}
