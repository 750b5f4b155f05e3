"""The report: one HTML page that needs nothing else, and the tables, curves and figures beside it."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from data.pairs.files import whole_folder, write_text
from evaluation.page.pictures import KINDS, Picture, draw_pictures
from evaluation.page.report import Report
from evaluation.paper.pages import FIGURE, write_paper
from evaluation.paper.render import NOTE, notes, text_table, title
from evaluation.results.comparison import Table
from evaluation.results.results import DUPLICATE, REAL
from evaluation.tables import significance_text, tables
from evaluation.tables.conventions import render_conventions
from evaluation.tables.score_section import score_section, weights_sentence
from evaluation.tables.verdict import FEW_SEEDS, judge

TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(report: Report, out: Path) -> None:
    """Write all that the report stage leaves in `out` but cards; each folder is replaced whole, also when it is empty.

    Those are the page report.html,
    tables/<dataset>.md, <dataset>.csv, <dataset>-scores.csv, <dataset>-conventions.md, <dataset>-tests.md,
    <dataset>-tests.csv and README.md,
    plots/<dataset>/<architecture>/<source>-<masks>.csv,
    figures/<dataset>/<source>-<masks>.png, methods-<masks>.png, volume.svg and losses-<what>.svg, and
    paper/<table>.md, .csv and .tex, README.md and, if it has results, figure7.png and .svg: README.md alone without
    `report.paper`.
    """
    with ExitStack() as stack:
        paper_dir, table_dir, plot_dir, figure_dir = (
            stack.enter_context(whole_folder(out / name)) for name in ("paper", "tables", "plots", "figures")
        )
        write_paper(paper_dir, report.paper, report.looks)
        _write_tables(table_dir, report)
        for (dataset, architecture, source, masks), points in report.series.items():
            path = plot_dir / dataset / architecture / f"{source}-{masks}.csv"
            write_text(path, tables.render_series_csv(points))
        pictures = list(draw_pictures(report, figure_dir))
        if (path := paper_dir / f"{FIGURE}.svg").is_file():
            pictures.append(Picture("", "paper", "Figure 7", path))
        write_text(out / "report.html", render_report(report, pictures))


def _write_tables(folder: Path, report: Report) -> None:
    index = ["# Tables", "", "Values in CSV files are 0-1 and as they were read; Markdown tables are in %.", ""]
    for table in report.tables:
        dataset, tests = table.dataset, report.tests[table.dataset]
        write_text(folder / f"{dataset}.md", tables.render_markdown(table))
        write_text(folder / f"{dataset}.csv", tables.render_csv(dataset, report.runs, report.grid))
        write_text(folder / f"{dataset}-scores.csv", tables.render_scores_csv(dataset, report.scores, report.grid))
        write_text(folder / f"{dataset}-conventions.md", render_conventions(dataset, report.runs, report.grid))
        write_text(folder / f"{dataset}-tests.md", significance_text.render_markdown(dataset, tests))
        write_text(folder / f"{dataset}-tests.csv", significance_text.render_csv(dataset, tests))
        index.append(
            f"- {dataset}: [table]({dataset}.md), [one line a run]({dataset}.csv), "
            f"[one line a synthetic set]({dataset}-scores.csv), [every convention]({dataset}-conventions.md), "
            f"[is a difference real?]({dataset}-tests.md), [the same as numbers]({dataset}-tests.csv)"
        )
    write_text(folder / "README.md", "\n".join([*index, ""]))


def render_report(report: Report, pictures: Sequence[Picture] = ()) -> str:
    """Return the page as HTML: no script, no request, all text escaped; the same input gives the same bytes."""
    from jinja2 import Environment, StrictUndefined

    grid = report.grid
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    asked, earlier = grid.asked(report.runs), grid.earlier(report.runs)
    paper = [table for table in report.paper if table.asked or table.has_results]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        datasets=[_section(report, table, pictures) for table in report.tables],
        tested_note=significance_text.NOTE,
        paper=[(title(table), text_table(table), notes(table)) for table in paper],
        paper_note=NOTE,
        paper_pictures=[one for one in pictures if one.kind == "paper"],
        asked=len(set(grid.runs)),
        done=len(asked),
        weights=weights_sentence(asked),
        few_seeds=len({key.seed for key in grid.runs}) < FEW_SEEDS,
        trainings=len({key.generator_seed for key in grid.set_keys()} - {None}),
        tested=any(one.estimate for tests in report.tests.values() for one in tests),
        references=[tables.NAMES.get(name, name) for name in (REAL, DUPLICATE) if name in grid.baselines],
        against=grid.against,
        earlier=tables.earlier_table(earlier) if earlier else None,
        provenance=report.provenance,
    )


def _section(report: Report, table: Table, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return what the page says about one data set: `pictures` by kind, the rest as the template names it."""
    tests = report.tests[table.dataset]
    scores = [one for one in report.grid.of_scored(report.scores) if one.dataset == table.dataset]
    by_kind: dict[str, list[Picture]] = {kind: [] for kind in KINDS}
    for one in pictures:
        if one.dataset == table.dataset:
            by_kind[one.kind].append(one)
    return {
        "name": table.dataset,
        "verdicts": [judge(table, architecture, tests) for architecture in table.architectures],
        "table": tables.text_table(table),
        "note": tables.note(table),
        "tested": significance_text.comparison_table(tests) if any(one.estimate for one in tests) else None,
        "scores": score_section(table.dataset, scores) if scores else None,
        "pictures": by_kind,
    }
