"""A picture of masks beside the real ones."""

from pathlib import Path

import numpy as np

from data.drawing import evenly, line, outlined, tiled
from data.pairs.manifest import PairSet, read_pairs
from data.pairs.resize import resize_mask

PREVIEW_ROWS, PREVIEW_COPIES, TILE_PX, GAP_PX = 8, 4, 128, 4
COLOURS = np.array([(0, 0, 0), (235, 235, 235), (230, 159, 0), (86, 180, 233), (0, 158, 115)], np.uint8)
GREY = (90, 90, 90)


def mask_tile(labels: np.ndarray) -> np.ndarray:
    """Return uint8 (TILE_PX, TILE_PX, 3), a colour a class; further classes begin anew after the last colour."""
    small = resize_mask(labels, TILE_PX).astype(int)
    return COLOURS[np.where(small > 0, 1 + (small - 1) % (len(COLOURS) - 1), 0)]


def preview(real: PairSet, folder: Path, copies: int) -> np.ndarray:
    """Return uint8 (H, W, 3): a row for each of up to eight real masks, evenly chosen, and its first four copies.

    The real mask comes first; its outline lies over what was made of it, or in its place.
    """
    sets = [read_pairs(folder / str(copy)) for copy in range(1, min(copies, PREVIEW_COPIES) + 1)]
    by_parent = [
        {pair.id.removesuffix(f"-{pair.source}-{copy}"): pair for pair in masks.pairs}
        for copy, masks in enumerate(sets, 1)
    ]
    cells = []
    for parent in evenly(real.pairs, PREVIEW_ROWS):
        labels = real.labels(parent)
        cells.append(mask_tile(labels))
        for masks, pairs in zip(sets, by_parent, strict=True):
            cells.append(outlined(mask_tile(masks.labels(pairs[parent.id])), labels, line("mask", 1), fine=False))
    return tiled(cells, 1 + len(sets), TILE_PX, GAP_PX, GREY)
