"""A mask that is given and not made: what is known of it, and what it must fit."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.mask_files.checks import MaskFacts, mask_facts
from data.masks.constraints import Array
from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet, class_names
from data.pairs.resize import lost_labels


class Given(NamedTuple):
    """A mask in the frame of the real ones. `row` is what its manifest says; the id is the mask's own."""

    row: Pair
    origin: str  # the file in the folder, or data set/split/id
    packed: bytes  # its labels, compressed: a large folder fits into memory
    side: int
    facts: MaskFacts
    image: Path | None = None  # the file of the image that it came with

    @property
    def labels(self) -> Array:
        """The labels, uint8 (side, side) in {0..K}."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.side, self.side)


def given_mask(row: Pair, origin: str, framed: Array, facts: MaskFacts) -> Given:
    """Return a mask with its labels in the frame, uint8 (side, side), compressed."""
    return Given(row, origin, zlib.compress(framed.tobytes(), 1), len(framed), facts)


def side_of(real: PairSet) -> int:
    """Return the side of the real masks in px."""
    return len(real.labels(real.pairs[0]))


def lost_text(own: Array, framed: Array, real: PairSet) -> str:
    """Return what of a mask vanishes in the frame of the real ones, or nothing."""
    names = [class_names(real.pairs[0])[label - 1] for label in lost_labels(own, framed)]
    return f"its {' and '.join(names)} vanishes at {len(framed)}x{len(framed)}" if names else ""


def check_classes(name: str, where: str, said: tuple[str, ...], real: PairSet) -> None:
    """Raise a UserError where classes are not those of the data set that masks are for."""
    classes = class_names(real.pairs[0])
    if said != (classes if len(classes) > 1 else ()):
        wanted = f"the classes {', '.join(classes)}, in this order" if len(classes) > 1 else "one class of lesion"
        raise UserError(f"masks.{name}: the data set has {wanted}, and {where} has {', '.join(said) or 'one class'}")


def pseudo_masks(pseudo: PairSet, name: str) -> list[Given]:
    """Return the masks that a segmenter gave images without one, each with its image and of no labelled parent."""

    def given(pair: Pair) -> Given:
        labels = pseudo.labels(pair)
        row = Pair(pair.id, "", "", "train", name, box=pair.box, classes=pair.classes)
        return given_mask(row, pair.id, labels, mask_facts(labels, pair.id))._replace(image=pseudo.folder / pair.image)

    return [given(pair) for pair in pseudo.pairs]
