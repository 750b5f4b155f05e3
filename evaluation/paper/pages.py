"""What lies in results/paper: every table of the paper with our results, as Markdown, CSV and LaTeX, and Figure 7."""

from collections.abc import Mapping
from pathlib import Path

from data.pairs.files import whole_folder, write_text
from evaluation.paper.figure7 import volume_figure
from evaluation.paper.render import render_csv, render_latex, render_markdown, title
from evaluation.paper.tables import PaperTable, paper_tables
from evaluation.results.results import Grid, read_runs, read_scores

FIGURE = "figure7"


def write_paper(results: Path, grid: Grid, kinds: Mapping[str, str], out_dir: Path) -> list[PaperTable]:
    """Write <table>.md, .csv and .tex of every table, README.md and, if it has results, figure7.png and .svg.

    `results` holds segmentation/, scores/ and details/; `kinds` is the kind of each data set in params.yaml. The folder
    is replaced whole. Returns the tables, or none, with README.md alone, if `grid` asks for no cell of any.

    Raises: UserError naming every result file that is damaged.
    """
    tables = paper_tables(read_runs(results), read_scores(results), grid, kinds)
    tables = tables if any(table.asked for table in tables) else []
    with whole_folder(out_dir) as folder:
        # A page at least: git keeps no empty folder.
        told = "Tables without a result of ours show what they need." if tables else "params.yaml asks for none."
        index = ["# The paper's tables with our results", "", told, ""]
        for table in tables:
            write_text(folder / f"{table.key}.md", render_markdown(table))
            write_text(folder / f"{table.key}.csv", render_csv(table))
            write_text(folder / f"{table.key}.tex", render_latex(table))
            key = table.key
            index.append(f"- {title(table)}: [Markdown]({key}.md), [CSV]({key}.csv), [LaTeX]({key}.tex)")
            if key == FIGURE and table.has_results:
                volume_figure(table, folder / FIGURE)
        write_text(folder / "README.md", "\n".join([*index, ""]))
    return tables
