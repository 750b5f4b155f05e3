"""Masks that are there twice, or belong to a pair that segmenters are tested on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data.masks.constraints import Array, change_of
from data.masks.given import Given
from data.pairs.manifest import PairSet

# IoU. At 64 px that of two lesions is at most 0.9946 in 140 masks of PH2, where some fill the frame, and 0.864 in 560
# of Kvasir-SEG.
SAME_MASK = 0.998


def same_masks(given: Sequence[Given], allowed: Sequence[str]) -> Iterator[str]:
    """Yield a line for every mask that is that of an earlier file, pixel by pixel."""
    first: dict[str, Given] = {}
    for mask in given:
        same = first.setdefault(hashlib.sha256(mask.packed).hexdigest(), mask)
        if same is not mask and mask.facts.foreground and not {mask.row.id, "*"} & set(allowed):
            what_to_do = f"remove one, or set allow_duplicates: [{mask.row.id}]"
            yield f"same_mask: {mask.origin} is the same as {same.origin}: {what_to_do}"


def _middle(labels: Array) -> tuple[float, float, float]:
    """Return the area in px and the centre of the lesion."""
    ys, xs = np.nonzero(labels)
    return float(len(xs)), float(xs.mean()), float(ys.mean())


def held_out_masks(
    given: Sequence[Given], held_out: Mapping[str, PairSet], what_to_do: str, allowed: Sequence[str]
) -> Iterator[str]:
    """Yield a line for every mask that is that of a pair of val or a test set, or nearly."""
    masks = [mask for mask in given if mask.labels.any() and not {mask.row.id, "*"} & set(allowed)]
    if not masks:
        return
    middles = np.array([_middle(mask.labels) for mask in masks])
    near = 1 - SAME_MASK
    for split, pairs in held_out.items():
        for pair in pairs.pairs:
            labels = pairs.labels(pair)
            if not labels.any():
                continue
            area, *center = _middle(labels)
            alike = np.abs(middles[:, 0] - area) <= near * np.maximum(middles[:, 0], area)
            alike &= np.abs(middles[:, 1:] - center).max(1) <= near * len(labels)
            for place in np.flatnonzero(alike):
                iou = 1 - change_of(masks[place].labels, labels)
                if iou >= SAME_MASK:
                    same = f"{masks[place].origin} is the mask of {split}/{pair.id} (IoU {iou:.4f})"
                    yield f"leak: {same}: {what_to_do.format(id=masks[place].row.id)}"
