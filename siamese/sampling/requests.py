"""What sampling asks of a method of any kind, and what it gets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data.pairs.assemble import BOX
from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet, content_box
from data.pairs.seeds import item_seed
from siamese.config.sections import Needs

SHOWN = 4  # ids in an error


class Request(NamedTuple):
    """One image to make. Every draw comes from `seed`, so that no image depends on its batch."""

    id: str
    mask: np.ndarray  # (H, W) in [0, 1], as PairSet.hint gives it
    seed: int
    reference: np.ndarray | None = None  # uint8 (H, W, 3): the real image that the mask belongs to
    normal: np.ndarray | None = None  # uint8 (H, W, 3): an image without a lesion
    parent: str = ""  # id of the training pair that the mask comes from
    start: np.ndarray | None = None  # uint8 (H, W, 3): the image that the mask came with, to start from


class Drawn(NamedTuple):
    """An image, and the mask that was made with it by a method that emits masks."""

    image: np.ndarray  # uint8 (H, W, 3)
    labels: np.ndarray | None = None  # uint8 (H, W), 0 and 1
    text: Mapping[str, str] = {}  # what this image has to say of itself in its file, such as the attempts it took


class Sampler(NamedTuple):
    """A trained generator of any method, on this process's device."""

    needs: Needs  # of the method
    settings: dict[str, str]  # what changed the images beside the weights, as text for their files: steps, ...
    # yields for each request what depends on that request alone: an image, uint8 (H, W, 3), or, of a method that emits
    # masks, a Drawn
    sample: Callable[[Sequence[Request]], Iterator[np.ndarray | Drawn]]


class Pools(NamedTuple):
    """The images that requests may need beside masks."""

    real: PairSet | None = None  # the training pairs, for the image of each mask
    normal: PairSet | None = None  # images without a lesion


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


def around(mask: np.ndarray, pool: PairSet, name: str) -> Sequence[Pair]:
    """Return the images of a pool that a lesion of (H, W) can lie in: nothing is painted into a letterbox's padding.

    Raises: UserError with the mask's name when its lesion lies in the padding of all.
    """
    ys, xs = np.nonzero(mask)
    if not len(ys) or not any(pair.box for pair in pool.pairs):
        return pool.pairs

    def holds(pair: Pair) -> bool:
        left, top, width, height = content_box(pair) or (0, 0, mask.shape[1], mask.shape[0])
        inside = left <= xs.min() and xs.max() < left + width and top <= ys.min() and ys.max() < top + height
        return bool(inside)

    if fitting := [pair for pair in pool.pairs if holds(pair)]:
        return fitting
    raise UserError(
        f"the lesion of mask {name} lies in the padding of all {len(pool)} images without a lesion",
        ["give images of other proportions, or set fit: stretch in the data-set row"],
    )


def requests_for(
    masks: PairSet, pairs: Sequence[Pair], needs: Needs, seed: int, pools: Pools, parents: Mapping[str, Pair], draw: int
) -> list[tuple[Request, dict[str, str]]]:
    """Return the requests of some pairs of a set of masks, and what the file of each image says of its request.

    `parents` are the real pairs by the mask's id, as `own_parents` gives them, where the method needs their images.
    """
    again = (draw,) if draw > 1 else ()
    requests = []
    for pair in pairs:
        text = {"mask": pair.id, "seed": str(item_seed(seed, "sample", pair.id, *again))}
        text |= {"draw": str(draw)} if again else {}
        if needs.emits_masks:
            text["parent"] = "" if needs.unconditional else pair.parent
        normal = None
        if needs.normal:
            if not pools.normal:
                raise UserError("this generator samples with images without a lesion: give normal in the data-set row")
            fitting = around(masks.mask(pair), pools.normal, pair.id)
            chosen = fitting[item_seed(seed, "normal", pair.id, *again) % len(fitting)]
            normal, text["normal"] = pools.normal.image(chosen), chosen.id
            text |= {BOX: chosen.box} if chosen.box != pair.box else {}
        if started := needs.strength < 1 and bool(pair.image):
            # whatever the strength a near copy: what is left of an image nobody can say beforehand
            text |= {"near-copy": "yes", "strength": f"{needs.strength:g}"}
        request = Request(
            id=pair.id,
            mask=masks.hint(pair),
            seed=int(text["seed"]),
            reference=pools.real.image(parents[pair.id]) if pools.real and parents else None,
            normal=normal,
            parent=pair.parent,
            start=masks.image(pair) if started else None,
        )
        requests.append((request, text))
    return requests
