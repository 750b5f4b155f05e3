"""Figures as the paper has them: every method on the same masks, results against the volume; and losses.

The same input, the same bytes. Source: Figures 5 to 7 of the paper; it prints no losses.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.pairs.manifest import Pair, PairSet
from evaluation.figures.pairs_and_curves import (
    CELL_PX,
    COLOURS,
    EMPTY,
    FONT_PX,
    GAP_PX,
    HEADER_PX,
    INK,
    PAPER,
    outline,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = ("-", "--", ":", "-.")


def method_grid(real: PairSet, sets: Mapping[str, PairSet], path: Path, *, rows: int = 6) -> bool:
    """Write a PNG of the same masks in every set, a mask a row and a set a column; return False if they share none.

    The first column is the real image that the mask comes from, with its own mask; every other image has the outline of
    the mask that it was made for. Rows are spread evenly over the ids. A real pair that `real` lacks is a grey field.
    """
    found = [{(pair.id, pair.mask_sha256): pair for pair in one.pairs} for one in sets.values()]
    shared = sorted(set.intersection(*(set(pairs) for pairs in found))) if found else []
    if not shared:
        return False
    picks = [shared[i] for i in sorted({round(i) for i in np.linspace(0, len(shared) - 1, min(rows, len(shared)))})]
    parents = {pair.id: pair for pair in real.pairs}
    first = next(iter(sets.values()))
    cell = int(np.clip(first.image(first.pairs[0]).shape[0], *CELL_PX))
    step = cell + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + (1 + len(sets)) * step, GAP_PX + HEADER_PX + len(picks) * step), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for column, title in enumerate(("real", *sets)):
        draw.text((GAP_PX + column * step, GAP_PX), title, INK, font)
    for row, key in enumerate(picks):
        parent = parents.get(found[0][key].parent)
        pictures = [Image.new("RGB", (cell, cell), EMPTY) if parent is None else _outlined(real, parent, cell)]
        pictures += [_outlined(one, pairs[key], cell) for one, pairs in zip(sets.values(), found, strict=True)]
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (GAP_PX + column * step, GAP_PX + HEADER_PX + row * step))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG", optimize=True)
    return True


def _outlined(pairs: PairSet, pair: Pair, cell: int) -> Image.Image:
    picture = Image.fromarray(pairs.image(pair)).resize((cell, cell), Image.Resampling.LANCZOS)
    mask = Image.fromarray(pairs.mask(pair) * np.uint8(255)).resize((cell, cell), Image.Resampling.BICUBIC)
    return Image.fromarray(outline(np.array(picture), np.array(mask) > 127))


def loss_figure(curves: Mapping[str, Path], stem: Path) -> None:
    """Write losses as PNG and SVG, one panel a column of the CSV files and one line a file.

    `curves` is name -> CSV file with a column `step`. A column that a file lacks, and an empty cell, have no points.
    """
    read = {name: _read_curve(path) for name, path in curves.items()}
    columns = list(dict.fromkeys(column for curve in read.values() for column, points in curve.items() if points))
    figure, panels = panels_of(max(len(columns), 1))
    for panel, column in zip(panels, columns, strict=False):
        for number, (name, curve) in enumerate(read.items()):
            colour, line = COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)]
            if points := curve.get(column):
                panel.plot(*zip(*points, strict=True), color=colour, linestyle=line, linewidth=1, label=name)
        panel.set_title(column, fontsize=9)
        panel.set_xlabel("step")
    save_panels(figure, panels, stem)


def _read_curve(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return column -> (step, value) of the cells that are not empty."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    names = [name for name in (lines[0] if lines else {}) if name != "step"]
    return {name: [(int(line["step"]), float(line[name])) for line in lines if line[name]] for name in names}


def panels_of(count: int) -> tuple["Figure", np.ndarray]:
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context("default"):
        figure = Figure(figsize=(max(7.5, 0.6 + 3.7 * count), 3.9), dpi=130, layout="constrained")
        return figure, figure.subplots(1, count, squeeze=False)[0]


def save_panels(figure: "Figure", panels: np.ndarray, stem: Path) -> None:
    """Write stem.png and stem.svg with one legend below, without the time and the version of the library."""
    from matplotlib import rc_context
    from matplotlib.style import context

    for panel in panels:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    labelled = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    stem.parent.mkdir(parents=True, exist_ok=True)
    with context("default"), rc_context({"svg.hashsalt": stem.name}):
        figure.legend(labelled.values(), labelled, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, metadata=metadata)
            stem.with_name(f"{stem.name}.{kind}").write_bytes(drawn.getvalue())
