"""A picture of the masks that will be sampled from: some real ones, each with what was made of it."""

from pathlib import Path

import numpy as np

from data.pairs.manifest import Pair, PairSet, read_pairs

ROWS, COPIES, TILE_PX, GAP_PX = 8, 4, 128, 4
COLOURS = np.array([(0, 0, 0), (235, 235, 235), (230, 159, 0), (86, 180, 233), (0, 158, 115)], np.uint8)
PARENT = (255, 60, 60)


def _tile(labels: np.ndarray) -> np.ndarray:
    """Return uint8 (TILE_PX, TILE_PX, 3), a colour a class; further classes begin anew after the last colour."""
    import cv2

    small = cv2.resize(labels, (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST).astype(int)
    return COLOURS[np.where(small > 0, 1 + (small - 1) % (len(COLOURS) - 1), 0)].copy()


def _with_outline(tile: np.ndarray, parent: np.ndarray) -> np.ndarray:
    import cv2

    small = cv2.resize((parent > 0).astype(np.uint8), (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST)
    outline, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(tile, outline, -1, PARENT, 1)


def _by_parent(folder: Path) -> tuple[PairSet, dict[str, Pair]]:
    masks = read_pairs(folder)
    return masks, {pair.parent: pair for pair in masks.pairs}


def preview(real: PairSet, folder: Path, copies: int) -> np.ndarray:
    """Return uint8 (H, W, 3): a row for each of up to eight real masks, evenly chosen, and its first four copies.

    The real mask comes first; its outline lies in red over what was made of it.
    """
    sets = [_by_parent(folder / str(copy)) for copy in range(1, min(copies, COPIES) + 1)]
    rows = []
    for index in np.linspace(0, len(real) - 1, min(ROWS, len(real))).round().astype(int):
        parent = real.pairs[index]
        labels = real.labels(parent)
        made = [_with_outline(_tile(masks.labels(of[parent.id])), labels) for masks, of in sets]
        gap = ((0, GAP_PX), (0, GAP_PX), (0, 0))
        rows.append(np.concatenate([np.pad(tile, gap, constant_values=90) for tile in (_tile(labels), *made)], 1))
    return np.concatenate(rows)
