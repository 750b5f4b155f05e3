"""A picture of where a segmenter did best and worst."""

from collections.abc import Mapping

import numpy as np

from data.drawing import GAP_PX, HEADER_PX, Sheet, line, outlined, reduced, rgb
from data.pairs.manifest import PairSet, content
from segmentation.inference.predict import Segmenter

CASES, TILE_PX = 4, 192


def cases(scores: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the ids of the worst and of the best images, each the most telling first; ties go by id."""
    order = sorted(scores, key=lambda name: (scores[name], name))
    return order[:CASES], order[::-1][:CASES]


def draw_cases(segmenter: Segmenter, pairs: PairSet, scores: Mapping[str, float]) -> np.ndarray:
    """Return uint8 (H, W, 3): the worst images in the first row and the best in the second, with their Dice.

    Both outlines are drawn, that of the mask wider, so that it shows where they lie upon each other. `scores` are the
    Dice of the images by id, of which there is at least one.
    """
    by_id = {pair.id: pair for pair in pairs.pairs}
    rows = cases(scores)
    step_px = (TILE_PX + GAP_PX, TILE_PX + HEADER_PX)
    sheet = Sheet(len(rows[0]), len(rows), step_px, outlines=("mask", "prediction"))
    for row, (kind, names) in enumerate(zip(("worst", "best"), rows, strict=True)):
        for column, pair in enumerate(by_id[name] for name in names):
            image = content(pair, pairs.image(pair))
            small = reduced(image, (TILE_PX, TILE_PX))
            small = outlined(small, content(pair, pairs.mask(pair)), line("mask", 4), fine=False)
            found = segmenter(image[None])[0] > 0.5
            sheet.paste(column, row, outlined(small, found, ((rgb("prediction"), 2),), fine=False))
            text = f"{kind}: Dice {scores[pair.id]:.2f}, {pair.id}"
            sheet.write(column, row, text, (0, TILE_PX + 2), most_px=TILE_PX)
    return np.asarray(sheet.image)
