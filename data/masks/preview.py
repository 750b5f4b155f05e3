"""A picture of the masks that will be sampled from: some real ones, each with what was made of it."""

from pathlib import Path

import numpy as np

from data.drawing import evenly, outlined, tiled
from data.pairs.manifest import PairSet, read_pairs
from data.pairs.resize import resize_mask

ROWS, COPIES, TILE_PX, GAP_PX = 8, 4, 128, 4
COLOURS = np.array([(0, 0, 0), (235, 235, 235), (230, 159, 0), (86, 180, 233), (0, 158, 115)], np.uint8)
PARENT = (((255, 60, 60), 1),)


def _tile(labels: np.ndarray) -> np.ndarray:
    """Return uint8 (TILE_PX, TILE_PX, 3), a colour a class; further classes begin anew after the last colour."""
    small = resize_mask(labels, TILE_PX).astype(int)
    return COLOURS[np.where(small > 0, 1 + (small - 1) % (len(COLOURS) - 1), 0)]


def preview(real: PairSet, folder: Path, copies: int) -> np.ndarray:
    """Return uint8 (H, W, 3): a row for each of up to eight real masks, evenly chosen, and its first four copies.

    The real mask comes first; its outline lies in red over what was made of it.
    """
    sets = [read_pairs(folder / str(copy)) for copy in range(1, min(copies, COPIES) + 1)]
    by_parent = [{pair.parent: pair for pair in masks.pairs} for masks in sets]
    cells = []
    for parent in evenly(real.pairs, ROWS):
        labels = real.labels(parent)
        cells.append(_tile(labels))
        for masks, pairs in zip(sets, by_parent, strict=True):
            cells.append(outlined(_tile(masks.labels(pairs[parent.id])), labels, PARENT, fine=False))
    return tiled(cells, 1 + len(sets), TILE_PX, GAP_PX, (90, 90, 90))
