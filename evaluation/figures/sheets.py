"""Sheets of images: synthetic pairs beside their real ones, every method on the same masks (Fig. 5 and 6), copies."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.drawing import FONT_PX, GAP_PX, HEADER_PX, Sheet, empty, enlarged, enlarged_mask, evenly, line, outlined, rgb
from data.pairs.manifest import Pair, PairSet, content
from evaluation.audit.filters import value
from evaluation.audit.nearest import squared_distances
from evaluation.audit.thumbnails import middles, symmetries, thumbnails

CELL_PX = (192, 256)  # smaller images are enlarged to the first, larger ones reduced to the second
COLUMNS = ("real", "mask asked for", "synthetic", "with the mask's outline")
METHOD_CELL_PX = (96, 128)  # all sets are to fit on a screen
COPY_CELL_PX, COPY_COLUMNS = (128, 192), 4


def _cell_px(pairs: PairSet, pair: Pair, most: tuple[int, int] = CELL_PX) -> int:
    return int(np.clip(pairs.image(pair).shape[0], *most))


def _outlined(pairs: PairSet, pair: Pair, cell_px: int) -> np.ndarray:
    return outlined(enlarged(pairs.image(pair), cell_px), enlarged_mask(pairs.mask(pair), cell_px), line("mask"))


def pair_grid(real: PairSet, synthetic: PairSet, path: Path, *, rows: int = 8) -> None:
    """Write a PNG of `rows` synthetic pairs, spread evenly over their ids, each beside the real pair of its mask.

    Columns: the real image whose mask was used or moved, the mask that was asked for, the synthetic image, and that
    image with the outline of the mask. A real pair that is not in `real` leaves a grey field.
    """
    parents = {pair.id: pair for pair in real.pairs}
    drawn = evenly(synthetic.pairs, rows)
    cell_px = _cell_px(synthetic, synthetic.pairs[0])
    sheet = Sheet(len(COLUMNS), len(drawn), (cell_px + GAP_PX, cell_px + GAP_PX + HEADER_PX), COLUMNS)
    for row, pair in enumerate(drawn):
        parent = parents.get(pair.parent)
        mask = enlarged_mask(synthetic.mask(pair), cell_px, smooth=False)
        sheet.paste(0, row, enlarged(real.image(parent), cell_px) if parent else empty(cell_px))
        sheet.paste(1, row, np.stack([mask * np.uint8(255)] * 3, -1))
        sheet.paste(2, row, enlarged(synthetic.image(pair), cell_px))
        sheet.paste(3, row, _outlined(synthetic, pair, cell_px))
        sheet.write(0, row, f"real {pair.parent or '-'}", (0, cell_px + 2))
        sheet.write(2, row, f"synthetic {pair.id}", (0, cell_px + 2))
    sheet.save(path)


def method_grid(real: PairSet, sets: Mapping[str, PairSet], path: Path, *, columns: int = 8) -> bool:
    """Write a PNG of the same masks in every set, a mask a column and a set a row; return False if they share none.

    The first row is the real image that the mask comes from, with its own mask; every other image has the outline of
    the mask that it was made for. Columns are spread evenly over the ids. A real pair that is not in
    `real` leaves a grey field.
    """
    by_mask = [{(pair.id, pair.mask_sha256): pair for pair in pairs.pairs} for pairs in sets.values()]
    shared = sorted(set.intersection(*(set(pairs) for pairs in by_mask))) if by_mask else []
    if not shared:
        return False
    parents = {pair.id: pair for pair in real.pairs}
    first = next(iter(sets.values()))
    cell_px = _cell_px(first, first.pairs[0], METHOD_CELL_PX)
    drawn = evenly(shared, columns)
    step_px = (cell_px + GAP_PX, cell_px + GAP_PX)
    sheet = Sheet(1 + len(drawn), 1 + len(sets), step_px, outlines=("mask",))
    for row, name in enumerate(("real", *sets)):
        sheet.write(0, row, name, (0, (cell_px - FONT_PX) // 2), most_px=cell_px)
    for column, key in enumerate(drawn, 1):
        parent = parents.get(by_mask[0][key].parent)
        sheet.paste(column, 0, _outlined(real, parent, cell_px) if parent else empty(cell_px))
        for row, (synthetic, pairs) in enumerate(zip(sets.values(), by_mask, strict=True), 1):
            sheet.paste(column, row, _outlined(synthetic, pairs[key], cell_px))
    sheet.save(path)
    return True


def copy_sheet(
    rows: Sequence[Mapping[str, str]], train: PairSet, synthetic: PairSet, path: Path, top: int = 20
) -> None:
    """Write a PNG of the synthetic images nearest to a training image, nearest first, each beside that image.

    `rows` are those of the score stage's table (id, nearest, copy, copy_distance). The training image, on the right, is
    turned and mirrored as it fits best. A training image that is not in `train` leaves a grey field.
    """
    closest = sorted(rows, key=lambda row: (float(row["copy_distance"]), row["id"]))[:top]
    originals, synthetics = ({pair.id: pair for pair in pairs.pairs} for pairs in (train, synthetic))
    cell_px = _cell_px(synthetic, synthetics[closest[0]["id"]], COPY_CELL_PX)
    line_px = FONT_PX + 2
    gap = np.full((cell_px, GAP_PX, 3), 255, np.uint8)
    columns = min(COPY_COLUMNS, len(closest))
    step_px = (2 * cell_px + 3 * GAP_PX, cell_px + 3 * line_px + 2 * GAP_PX)
    sheet = Sheet(columns, -(-len(closest) // columns), step_px)
    for number, row in enumerate(closest):
        cell = (number % columns, number // columns)
        pair, original = synthetics[row["id"]], originals.get(row["nearest"])
        image = content(pair, synthetic.image(pair))
        beside = empty(cell_px)
        if original:
            beside = enlarged(turned_like(content(original, train.image(original)), image), cell_px)
        sheet.paste(*cell, np.hstack([enlarged(image, cell_px), gap, beside]))
        texts = (f"synthetic {pair.id}", f"real {row['nearest']}", f"distance {float(row['copy_distance']):.3f}")
        for place, text in enumerate(texts):
            sheet.write(*cell, text, (0, cell_px + 2 + place * line_px), most_px=2 * cell_px)
        if value(row, "copy"):
            sheet.write(*cell, "copy", (cell_px + GAP_PX, cell_px + 2 + 2 * line_px), rgb("copy"))
    sheet.save(path)


def turned_like(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the flip or quarter turn of uint8 (H, W, 3) that is nearest to another image."""
    views = [view[0] for view in symmetries(image[None])]
    target = middles(thumbnails(other[None])).reshape(1, 1, -1)
    return np.ascontiguousarray(views[squared_distances(target, thumbnails(views)).argmin()])
