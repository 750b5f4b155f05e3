"""Plots: panels in one row, in the library's own style whatever the user's is, saved as the same bytes every time."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context, style
from matplotlib.figure import Figure

# Okabe and Ito: told apart with any colour vision, and in grey by the markers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", ":", "-.")
GREY, BLACK = "#767676", "#202428"
METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
plain_style = style.context("default")  # decorates what draws


def panels_of(count: int, width: float = 3.7, height: float = 3.9, shared: bool = False) -> tuple[Figure, Sequence]:
    """Return a figure and its panels, in one row, of a width and a height in inches; `shared` panels have one scale."""
    figure = Figure(figsize=(0.6 + width * count, height), dpi=130, layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False, sharex=shared, sharey=shared)[0]


def finish(figure: Figure, panels: Sequence[Any]) -> None:
    """Draw a faint grid, no frame above and on the right, and one legend of all panels below, each label once."""
    labelled: dict[str, Any] = {}
    for panel in panels:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        labelled |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(labelled.values()), list(labelled), loc="outside lower center", ncols=3, frameon=False, fontsize=8
    )


def save(figure: Figure, path: Path, *more: Path) -> None:
    """Write the figure as PNG or SVG, as the ending says, without the time and the version of the library."""
    for file in (path, *more):
        kind, drawn = file.suffix[1:], io.BytesIO()
        with rc_context({"svg.hashsalt": file.stem}):
            figure.savefig(drawn, format=kind, metadata=METADATA[kind])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(drawn.getvalue())


@plain_style
def draw_reason(reason: str, path: Path) -> None:
    """Write a PNG that says why there is no picture."""
    figure, panels = panels_of(1, width=3.4, height=1.2)
    panels[0].axis("off")
    panels[0].text(0.5, 0.5, textwrap.fill(reason, 60), ha="center", va="center", fontsize=8)
    save(figure, path)
