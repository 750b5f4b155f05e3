"""Curves: mDice against the volume of synthetic pairs, and losses against steps. Source: Fig. 7; it has no losses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes

from data.drawing import COLOURS
from data.pairs.errors import one_line
from data.pairs.tables import read_table
from evaluation.figures.plots import Looks, finish, panels_of, plain_style, save
from evaluation.results.comparison import Point, SeriesKey
from evaluation.results.results import DUPLICATE, REAL

FEWEST_IN = 6.9  # room for a legend


class Losses(NamedTuple):
    """A CSV file with a column `step`, and whose losses it holds: a generator's, or a segmenter's on such pairs."""

    label: str
    path: Path
    source: str
    masks: str = "real"
    multiple: int = 1


@plain_style
def volume_curve(series: Mapping[SeriesKey, Sequence[Point]], looks: Looks, path: Path) -> None:
    """Write mDice (%) against the synthetic volume as SVG, one panel an architecture, for series of one data set.

    Error bars are standard deviations over seeds where there are several. The dotted line is real pairs only; filled
    markers are real masks, open ones any other masks.
    """
    architectures = list(dict.fromkeys(key[1] for key in series))
    figure, panels = panels_of(len(architectures))
    for panel, architecture in zip(panels, architectures, strict=True):
        curves = {key[2:]: points for key, points in series.items() if key[1] == architecture}
        for (source, masks), points in curves.items():
            _curve(panel, source, masks, points, looks)
        starts = [points[0].mdice.mean for points in curves.values() if points and points[0].multiple == 0]
        if starts:
            start = 100 * starts[0]
            panel.axhline(start, color=COLOURS[REAL], linestyle=":", linewidth=1.2, label="real pairs only")
        panel.set_title(architecture)
        panel.set_xlabel("synthetic pairs, multiples of the real set")
        panel.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("mDice (%)")
    finish(figure, panels)
    save(figure, path)


def _curve(panel: Axes, source: str, masks: str, points: Sequence[Point], looks: Looks) -> None:
    colour = looks.colour(source)
    several = any(point.mdice.sd is not None for point in points)
    panel.errorbar(
        [point.multiple for point in points],
        [100 * point.mdice.mean for point in points],
        yerr=[100 * (point.mdice.sd or 0.0) for point in points] if several else None,
        label="real pairs twice" if source == DUPLICATE else f"{source}, {masks} masks",
        color=colour,
        marker=looks.marker(source),
        linestyle=looks.line(masks),
        markerfacecolor=colour if masks == "real" else "white",
        capsize=3,
    )


@plain_style
def loss_figure(curves: Sequence[Losses], looks: Looks, path: Path) -> None:
    """Write losses as SVG, one panel a column of the CSV files and one line a file, wider for larger multiples.

    A column that a file lacks, one that is 0 throughout (a term that the method does not have) and an empty cell have
    no points.
    """
    losses = [(one, _read_curve(one.path)) for one in curves]
    columns = list(dict.fromkeys(column for _, curve in losses for column, points in curve.items() if points))
    count = max(len(columns), 1)
    figure, panels = panels_of(count, width=max(3.7, FEWEST_IN / count))
    for panel, column in zip(panels, columns, strict=False):
        for one, curve in losses:
            if points := curve.get(column):
                look = {"color": looks.colour(one.source), "linestyle": looks.line(one.masks)}
                panel.plot(
                    *zip(*points, strict=True), linewidth=min(0.5 + 0.5 * one.multiple, 3), label=one.label, **look
                )
        panel.set_title(column, fontsize=9)
        panel.set_xlabel("step")
    finish(figure, panels)
    save(figure, path)


NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def _row_problems(row: Mapping[str, str]) -> Iterator[str]:
    if not row["step"].isdecimal():
        yield f"step {one_line(row['step'], 100)!r} is no whole number"
    odd = [name for name, cell in row.items() if cell and name != "step" and not NUMBER.fullmatch(cell)]
    yield from (f"{name} {one_line(row[name], 100)!r} is no number" for name in odd)


def _read_curve(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return column -> (step, value) of the cells that are not empty; none of a column that is 0 throughout."""
    rows = read_table(path, ("step",), _row_problems)
    names = [name for name in (rows[0] if rows else {}) if name != "step"]
    curves = {name: [(int(row["step"]), float(row[name])) for row in rows if row[name]] for name in names}
    return {name: points if any(value for _, value in points) else [] for name, points in curves.items()}
