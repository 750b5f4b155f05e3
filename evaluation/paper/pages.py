"""What lies in results/paper: every table of the paper with our results, as Markdown, CSV and LaTeX, and Figure 7."""

from collections.abc import Sequence
from pathlib import Path

from data.drawing import COLOURS
from data.pairs.files import write_text
from evaluation.figures.plots import Looks, finish, panels_of, plain_style, save
from evaluation.paper.render import render_csv, render_latex, render_markdown, title
from evaluation.paper.tables import PaperTable

FIGURE = "figure7"


def write_paper(folder: Path, paper: Sequence[PaperTable], looks: Looks) -> None:
    """Write <table>.md, .csv and .tex of every table, README.md and, if it has results, figure7.png and .svg.

    Without tables there is README.md alone.
    """
    # A page at least: git keeps no empty folder.
    sentence = "Tables without a result of ours show what they need." if paper else "params.yaml asks for none."
    index = ["# The paper's tables with our results", "", sentence, ""]
    for table in paper:
        key = table.key
        for end, render in (("md", render_markdown), ("csv", render_csv), ("tex", render_latex)):
            write_text(folder / f"{key}.{end}", render(table))
        index.append(f"- {title(table)}: [Markdown]({key}.md), [CSV]({key}.csv), [LaTeX]({key}.tex)")
        if key == FIGURE and table.has_results:
            volume_figure(table, looks, folder / FIGURE)
    write_text(folder / "README.md", "\n".join([*index, ""]))


@plain_style
def volume_figure(table: PaperTable, looks: Looks, stem: Path) -> None:
    """Write Figure 7 as PNG and SVG: one panel a column of the table, one line a block of rows, baselines dotted.

    Rows of a block are the multiples of its masks; rows of no block are baselines. Error bars are standard deviations
    over seeds. Stars are the numbers that the paper prints, left out where our data are not the paper's.
    """
    figure, panels = panels_of(len(table.columns))
    blocks = {row.group: row for row in table.facts.rows if row.group}
    for number, (panel, column) in enumerate(zip(panels, table.columns, strict=True)):
        cells = [(row, values[number]) for row, values in zip(table.facts.rows, table.values, strict=True)]
        base = [value.ours for row, value in cells if not row.group and value.ours.n]
        for block, kind in blocks.items():
            colour, marker, line = looks.colour(kind.source), looks.marker(kind.source), looks.line(kind.masks)
            points = [(row.multiple, value.ours) for row, value in cells if row.group == block and value.ours.n]
            points = [*((0, one) for one in base[:1]), *points] if points else []
            ours = [n for n, _ in points], [one.mean for _, one in points], [one.sd or 0.0 for _, one in points]
            look = {"color": colour, "marker": marker, "markerfacecolor": colour if kind.masks == "real" else "white"}
            panel.errorbar(*ours, label=block, linestyle=line, capsize=3, **look)
            printed = [(row.multiple, value.paper) for row, value in cells if row.group == block and value.paper]
            if printed and not table.warnings:
                x, y = zip(*printed, strict=True)
                star = {"color": colour, "markeredgecolor": "black", "markersize": 14}
                panel.plot(x, y, "*", **star, label=f"{block}, as the paper prints")
        for one in base:
            panel.axhline(one.mean, color=COLOURS["real"], linestyle=":", linewidth=1.2, label="real pairs only")
        panel.set_ylabel(f"{column.label} (%)")
        panel.set_xlabel("synthetic pairs, multiples of the real set")
        panel.xaxis.get_major_locator().set_params(integer=True)
    if table.warnings:
        figure.suptitle("not the paper's data: its numbers are left out", fontsize=9)
    finish(figure, panels)
    save(figure, stem.with_suffix(".png"), stem.with_suffix(".svg"))
