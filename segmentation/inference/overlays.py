"""A picture of where a segmenter did best and worst."""

from collections.abc import Mapping, Sequence

import numpy as np

from data.pairs.manifest import PairSet, content
from segmentation.inference.predict import Segmenter

CASES, TILE_PX, GAP_PX = 4, 192, 4
TRUTH, FOUND = (255, 255, 0), (0, 200, 255)


def cases(scores: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the ids of the worst and of the best images, each the most telling first; ties go by id."""
    order = sorted(scores, key=lambda name: (scores[name], name))
    return order[:CASES], order[::-1][:CASES]


def _tile(image: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return uint8 (TILE_PX, TILE_PX, 3): the image with the outlines of truth (yellow) and prediction (blue)."""
    import cv2

    size = (TILE_PX, TILE_PX)
    tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for mask, colour in ((truth, TRUTH), (found, FOUND)):
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outline, -1, colour, 2)
    return np.pad(tile, ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)


def draw_cases(segmenter: Segmenter, pairs: PairSet, scores: Mapping[str, float]) -> np.ndarray:
    """Return uint8 (H, W, 3): the worst images in the first row and the best in the second, with both outlines.

    `scores` are the Dice of the images by id, of which there is at least one.
    """
    by_id = {pair.id: pair for pair in pairs.pairs}

    def row(names: Sequence[str]) -> np.ndarray:
        tiles = []
        for name in names:
            pair = by_id[name]
            image = content(pair, pairs.image(pair))
            tiles.append(_tile(image, content(pair, pairs.mask(pair)), segmenter(image[None])[0] > 0.5))
        return np.concatenate(tiles, axis=1)

    worst, best = cases(scores)
    return np.concatenate([row(worst), row(best)])
