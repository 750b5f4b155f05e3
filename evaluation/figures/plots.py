"""Plots: panels in one row, in the library's own style whatever the user's is, saved as the same bytes every time."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context, style
from matplotlib.figure import Figure

from data.drawing import COLOURS, MADE

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
LINES = ("--", ":", "-.")
REFERENCES = {name: COLOURS[name] for name in ("real", "duplicate")}
METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
plain_style = style.context("default")  # decorates what draws


@dataclass(frozen=True)
class Looks:
    """How a set of pairs is drawn in every figure: colour and marker say who made it, the line from which masks.

    `sources` and `masks` are in the order of params.yaml; those that are not among them come last.
    """

    sources: Sequence[str] = ()
    masks: Sequence[str] = ()

    def colour(self, source: str) -> str:
        """Return the colour of a source, as #rrggbb."""
        return REFERENCES.get(source) or _of(MADE, source, self.sources, [*REFERENCES])

    def marker(self, source: str) -> str:
        """Return the marker of a source."""
        return "x" if source in REFERENCES else _of(MARKERS, source, self.sources, [*REFERENCES])

    def line(self, masks: str) -> str:
        """Return the line of a kind of masks, unbroken for real ones."""
        return "-" if masks == "real" else _of(LINES, masks, self.masks, ["real"])


def _of(looks: Sequence[str], name: str, names: Sequence[str], without: Sequence[str]) -> str:
    others = [one for one in dict.fromkeys([*names, name]) if one not in without]
    return looks[others.index(name) % len(looks)]


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
