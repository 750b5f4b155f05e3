"""What a mask must be to be taken, and a mask that was made with what is known of how."""

from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np

from data.masks.config import Constraints

Array = np.ndarray


class Made(NamedTuple):
    """A mask of labels, how it was made, and why draws before it were rejected."""

    labels: Array
    how: dict[str, object]
    rejected: Counter[str]


def pieces_of(labels: Array) -> int:
    """Return the number of pieces of the lesion, which may hang together by corners."""
    return cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)[0] - 1


def touches_border(labels: Array) -> bool:
    """Return whether lesion lies on the first or last row or column."""
    return bool(labels[0].any() or labels[-1].any() or labels[:, 0].any() or labels[:, -1].any())


def change_of(labels: Array, parent: Array) -> float:
    """Return 1 - IoU of two masks, 0-1."""
    either = np.count_nonzero((labels > 0) | (parent > 0))
    return 1 - np.count_nonzero((labels > 0) & (parent > 0)) / either if either else 0.0


def broken_constraint(row: Constraints, labels: Array, lost: float, parent: Array, origin: Array) -> str:
    """Return the name of the first constraint that a mask breaks, or an empty text.

    `parent` is the mask in whose place it stands, `origin` the one that its shape comes from: the parent too, unless
    lesions were swapped.
    """
    if not row.area[0] <= np.count_nonzero(labels) / labels.size <= row.area[1]:
        return "area"
    if lost > row.lost:
        return "lost"
    if set(np.unique(labels)) != set(np.unique(origin)):
        return "class_lost"
    if row.connected != "any" and pieces_of(labels) > (1 if row.connected == "one" else pieces_of(origin)):
        return "connected"
    touches = touches_border(labels)
    if (touches and row.border == "never") or (row.border == "as_parent" and touches != touches_border(origin)):
        return "border"
    if row.change and min(change_of(labels, parent), change_of(labels, origin)) < row.change:
        return "change"
    return ""
