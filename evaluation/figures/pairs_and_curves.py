"""Figures: grids of real and synthetic pairs, and curves over the synthetic volume. The same input, the same bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.pairs.manifest import Pair, PairSet
from evaluation.results.comparison import Point, SeriesKey
from evaluation.results.results import DUPLICATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL_PX = (192, 256)  # smaller images are enlarged to the first, larger ones reduced to the second
GAP_PX, HEADER_PX, FONT_PX = 6, 24, 14
PAPER, INK, EMPTY = (255, 255, 255), (32, 36, 40), (232, 234, 236)
COLUMNS = ("real", "mask asked for", "synthetic", "with the mask's outline")
# Okabe and Ito: told apart with any colour vision, and in grey by the markers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def pair_grid(real: PairSet, synthetic: PairSet, path: Path, *, rows: int = 8) -> None:
    """Write a PNG of `rows` synthetic pairs, spread evenly over their ids, each beside the real pair of its mask.

    Columns: the real image whose mask was used or moved, the mask that was asked for, the synthetic image, and that
    image with the outline of the mask. A real pair that is not in `real` leaves a grey field.
    """
    if not synthetic.pairs:
        raise ValueError(f"{synthetic.folder}: no pairs to draw")
    parents = {pair.id: pair for pair in real.pairs}
    picks = sorted({round(i) for i in np.linspace(0, len(synthetic) - 1, min(rows, len(synthetic)))})
    cell = int(np.clip(synthetic.image(synthetic.pairs[0]).shape[0], *CELL_PX))
    step = cell + GAP_PX
    size = (GAP_PX + len(COLUMNS) * step, GAP_PX + HEADER_PX + len(picks) * (step + HEADER_PX))
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for column, title in enumerate(COLUMNS):
        draw.text((GAP_PX + column * step, GAP_PX), title, INK, font)
    for row, pick in enumerate(picks):
        pair = synthetic.pairs[pick]
        top = GAP_PX + HEADER_PX + row * (step + HEADER_PX)
        pictures = _row(real, parents.get(pair.parent), synthetic, pair, cell)
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (GAP_PX + column * step, top))
        draw.text((GAP_PX, top + cell + 2), f"real {pair.parent or '-'}", INK, font)
        draw.text((GAP_PX + 2 * step, top + cell + 2), f"synthetic {pair.id}", INK, font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG", optimize=True)


def _row(real: PairSet, parent: Pair | None, synthetic: PairSet, pair: Pair, cell: int) -> list[Image.Image]:
    side = (cell, cell)
    picture = Image.fromarray(synthetic.image(pair)).resize(side, Image.Resampling.LANCZOS)
    mask = Image.fromarray(synthetic.mask(pair) * np.uint8(255))
    smooth = np.array(mask.resize(side, Image.Resampling.BICUBIC)) > 127
    source = Image.new("RGB", side, EMPTY)
    if parent is not None:
        source = Image.fromarray(real.image(parent)).resize(side, Image.Resampling.LANCZOS)
    shown = mask.resize(side, Image.Resampling.NEAREST).convert("RGB")
    return [source, shown, picture, Image.fromarray(outline(np.array(picture), smooth))]


def outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3): the image with a bright line, edged in black, around the mask (H, W)."""
    import cv2

    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    for colour, width_px in (((0, 0, 0), 4), ((0, 255, 255), 2)):
        drawn = cv2.drawContours(drawn, contours, -1, colour, width_px, cv2.LINE_AA)
    return drawn


def volume_curve(series: Mapping[SeriesKey, Sequence[Point]], path: Path) -> None:
    """Write a PNG of mDice (%) against the synthetic volume, one panel an architecture, for series of one data set.

    Error bars are standard deviations over seeds where there are several. The dotted line is real pairs only; filled
    markers are real masks, open ones any other masks.
    """
    from matplotlib.figure import Figure
    from matplotlib.style import context

    architectures = list(dict.fromkeys(key[1] for key in series))
    sources = list(dict.fromkeys(key[2] for key in series if key[2] != DUPLICATE))
    with context("default"):
        figure = Figure(figsize=(0.6 + 3.7 * len(architectures), 3.9), dpi=130, layout="constrained")
        panels = figure.subplots(1, len(architectures), squeeze=False)[0]
        for panel, architecture in zip(panels, architectures, strict=True):
            for (_, name, source, masks), points in series.items():
                if name == architecture:
                    _curve(panel, source, masks, points, sources)
            _baseline(panel, [points for key, points in series.items() if key[1] == architecture])
            panel.set_title(architecture)
            panel.set_xlabel("synthetic pairs, multiples of the real set")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("mDice (%)")
        labelled = {
            label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(labelled.values(), labelled, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn.getvalue())


def _curve(panel: "Axes", source: str, masks: str, points: Sequence[Point], sources: Sequence[str]) -> None:
    number = sources.index(source) if source in sources else None
    colour = "#767676" if number is None else COLOURS[number % len(COLOURS)]
    several = any(point.mdice.sd is not None for point in points)
    panel.errorbar(
        [point.multiple for point in points],
        [100 * point.mdice.mean for point in points],
        yerr=[100 * (point.mdice.sd or 0.0) for point in points] if several else None,
        label="real pairs twice" if number is None else f"{source}, {masks} masks",
        color=colour,
        marker="x" if number is None else MARKERS[number % len(MARKERS)],
        linestyle="-" if masks == "real" else "--",
        markerfacecolor=colour if masks == "real" else "white",
        capsize=3,
    )


def _baseline(panel: "Axes", curves: Sequence[Sequence[Point]]) -> None:
    starts = [points[0].mdice.mean for points in curves if points and points[0].multiple == 0]
    if starts:
        panel.axhline(100 * starts[0], color="#202428", linestyle=":", linewidth=1.2, label="real pairs only")
