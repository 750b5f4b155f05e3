"""A picture of where a segmenter did best and worst."""

from collections.abc import Mapping

import numpy as np

from data.drawing import outlined, reduced, tiled
from data.pairs.manifest import PairSet, content
from segmentation.inference.predict import Segmenter

CASES, TILE_PX, GAP_PX = 4, 192, 4
TRUTH, PREDICTION = (((255, 255, 0), 2),), (((0, 200, 255), 2),)


def cases(scores: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the ids of the worst and of the best images, each the most telling first; ties go by id."""
    order = sorted(scores, key=lambda name: (scores[name], name))
    return order[:CASES], order[::-1][:CASES]


def draw_cases(segmenter: Segmenter, pairs: PairSet, scores: Mapping[str, float]) -> np.ndarray:
    """Return uint8 (H, W, 3): the worst images in the first row and the best in the second.

    The outline of the truth is yellow, that of the prediction blue. `scores` are the Dice of the images by id, of which
    there is at least one.
    """
    by_id = {pair.id: pair for pair in pairs.pairs}
    worst, best = cases(scores)
    cells = []
    for pair in (by_id[name] for name in (*worst, *best)):
        image = content(pair, pairs.image(pair))
        small = reduced(image, (TILE_PX, TILE_PX))
        small = outlined(small, content(pair, pairs.mask(pair)), TRUTH, fine=False)
        cells.append(outlined(small, segmenter(image[None])[0] > 0.5, PREDICTION, fine=False))
    return tiled(cells, len(worst), TILE_PX, GAP_PX)
