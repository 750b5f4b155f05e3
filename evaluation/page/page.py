"""The report: one HTML page that needs nothing else, and the tables, curves and figures beside it."""

import base64
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from data.pairs.files import whole_folder, write_text
from data.pairs.manifest import PairSet
from evaluation.figures.curves import loss_figure, volume_curve
from evaluation.figures.sheets import method_grid, pair_grid
from evaluation.paper.pages import FIGURE, write_paper
from evaluation.paper.render import NOTE, notes, text_table, title
from evaluation.paper.tables import PaperTable, paper_tables
from evaluation.paper.values import Preset
from evaluation.results.comparison import Table, build_table, volume_series
from evaluation.results.results import Grid, Run, Scores
from evaluation.results.significance import Comparison, compare_all
from evaluation.tables import significance_text, tables
from evaluation.tables.conventions import render_conventions
from evaluation.tables.score_section import score_section, weights_sentence
from evaluation.tables.verdict import FEW_SEEDS, judge

TEMPLATE = Path(__file__).with_name("report.html.j2")
TITLES = {"tsne": "Features of real and synthetic images", "colour": "Colours in Lab"}  # of the pictures stage

SetKey = tuple[str, str, str]  # dataset, generator, masks


class Picture(NamedTuple):
    """A PNG of the report, what it shows, its kind: curve, methods, pairs, sets, copies, losses, training or paper."""

    dataset: str
    kind: str
    title: str
    png: bytes

    @property
    def uri(self) -> str:
        """Return the picture as a data: URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


@dataclass(frozen=True)
class Report:
    """What a report is made of, read once; the tables and tests that follow from it are made once.

    `samples` gives the real training pairs and the x1 set of each added set that is to be shown, of a generator that of
    its first training, `pictured` the folder of PNGs of each data set that the pictures stage left. `losses` gives, for
    (data set, what was trained), name -> CSV file, `trained` for a data set generator -> the picture of what it drew
    while it was trained, where that was asked for. `presets` are those of each table of the paper. `provenance` is
    printed as it is, in its order.
    """

    runs: Sequence[Run]
    scores: Sequence[Scores]
    grid: Grid
    samples: Mapping[SetKey, tuple[PairSet, PairSet]] = field(default_factory=dict)
    pictured: Mapping[str, Path] = field(default_factory=dict)
    losses: Mapping[tuple[str, str], Mapping[str, Path]] = field(default_factory=dict)
    trained: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    presets: Mapping[str, Sequence[Preset]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tables(self) -> list[Table]:
        """Return the table of each data set."""
        return [build_table(dataset, self.runs, self.scores, self.grid) for dataset in self.grid.datasets()]

    @cached_property
    def tests(self) -> dict[str, tuple[Comparison, ...]]:
        """Return every setting against both baselines, by data set."""
        return {dataset: compare_all(dataset, self.runs, self.grid) for dataset in self.grid.datasets()}

    @cached_property
    def paper(self) -> list[PaperTable]:
        """Return the tables of the paper, none if the grid asks for no cell of them."""
        return paper_tables(self.runs, self.scores, self.grid, self.presets)


def write_report(report: Report, out: Path) -> None:
    """Write all that the report stage leaves in `out` but cards; each folder is replaced whole, also when it is empty.

    Those are the page report.html,
    tables/<dataset>.md, <dataset>.csv, <dataset>-scores.csv, <dataset>-conventions.md, <dataset>-tests.md,
    <dataset>-tests.csv and README.md,
    plots/<dataset>/<architecture>/<source>-<masks>.csv,
    figures/<dataset>/<generator>-<masks>.png, volume.png, losses-<what>.png and .svg, methods-<masks>.png where two
    generators had the same masks, and
    paper/<table>.md, .csv and .tex, README.md and, if it has results, figure7.png and .svg: README.md alone without
    `report.paper`.
    """
    series = volume_series(report.grid.asked(report.runs))
    pictures = []
    with ExitStack() as stack:
        paper_dir, table_dir, plot_dir, figure_dir = (
            stack.enter_context(whole_folder(out / name)) for name in ("paper", "tables", "plots", "figures")
        )
        write_paper(paper_dir, report.paper)
        _write_tables(table_dir, report)
        for (dataset, architecture, source, masks), points in series.items():
            path = plot_dir / dataset / architecture / f"{source}-{masks}.csv"
            write_text(path, tables.render_series_csv(points))
        for dataset in report.grid.datasets():
            curves = {key: points for key, points in series.items() if key[0] == dataset}
            if curves:
                path = figure_dir / dataset / "volume.png"
                volume_curve(curves, path)
                pictures.append(Picture(dataset, "curve", "mDice against synthetic volume", path.read_bytes()))
        made = {key: pairs for key, pairs in report.samples.items() if key[1] not in report.grid.baselines}
        pictures += _methods(made, figure_dir)
        for (dataset, what), files in report.losses.items():
            stem = figure_dir / dataset / f"losses-{what}"
            loss_figure(files, stem)
            pictures.append(Picture(dataset, "losses", f"Losses: {what}", stem.with_suffix(".png").read_bytes()))
        for dataset, drawn in report.trained.items():
            for name, path in drawn.items():
                pictures.append(Picture(dataset, "training", f"{name} while it was trained", path.read_bytes()))
        if (path := paper_dir / f"{FIGURE}.png").is_file():
            pictures.append(Picture("", "paper", "Figure 7", path.read_bytes()))
        for (dataset, generator, masks), (real, synthetic) in report.samples.items():
            path = figure_dir / dataset / f"{generator}-{masks}.png"
            pair_grid(real, synthetic, path)
            pictures.append(Picture(dataset, "pairs", f"{generator}, {masks} masks", path.read_bytes()))
        for dataset, folder in report.pictured.items():
            for path in sorted(folder.glob("*.png")):
                kind = "copies" if path.stem.startswith("copies-") else "sets"
                name = TITLES.get(path.stem, path.stem.removeprefix("copies-"))
                pictures.append(Picture(dataset, kind, name, path.read_bytes()))
        write_text(out / "report.html", render_report(report, pictures))


def _methods(samples: Mapping[SetKey, tuple[PairSet, PairSet]], figure_dir: Path) -> list[Picture]:
    """Draw the generators of each data set on the same masks, where there are two or more."""
    pictures = []
    for dataset, masks in dict.fromkeys((key[0], key[2]) for key in samples):
        sets = {key[1]: pairs for key, (_, pairs) in samples.items() if (key[0], key[2]) == (dataset, masks)}
        real = next(real for key, (real, _) in samples.items() if key[0] == dataset)
        path = figure_dir / dataset / f"methods-{masks}.png"
        if len(sets) > 1 and method_grid(real, sets, path):
            pictures.append(Picture(dataset, "methods", f"All generators, {masks} masks", path.read_bytes()))
    return pictures


def _write_tables(folder: Path, report: Report) -> None:
    index = ["# Tables", "", "Values in CSV files are 0-1 and as they were read; Markdown tables are in %.", ""]
    for table in report.tables:
        dataset, tests = table.dataset, report.tests[table.dataset]
        write_text(folder / f"{dataset}.md", tables.render_markdown(table))
        write_text(folder / f"{dataset}.csv", tables.render_csv(dataset, report.runs, report.grid))
        write_text(folder / f"{dataset}-scores.csv", tables.render_scores_csv(dataset, report.scores))
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

    grid, tests = report.grid, report.tests
    current = [one for one in report.scores if one.key in grid.set_keys()]
    scored = {dataset: [one for one in current if one.dataset == dataset] for dataset in grid.datasets()}
    sections = [score_section(dataset, scores) for dataset, scores in scored.items() if scores]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    asked, earlier = grid.asked(report.runs), grid.earlier(report.runs)
    paper = [table for table in report.paper if table.asked or table.has_results]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        verdicts=[judge(table, name, tests[table.dataset]) for table in report.tables for name in table.architectures],
        datasets=[
            (table.dataset, tables.text_table(table), " ".join([*tables.tested_on(table), tables.NOTE]))
            for table in report.tables
        ],
        tested={
            name: significance_text.comparison_table(comparisons)
            for name, comparisons in tests.items()
            if any(one.estimate for one in comparisons)
        },
        tested_note=significance_text.NOTE,
        pictures=pictures,
        paper=[(title(table), text_table(table), notes(table)) for table in paper],
        paper_note=NOTE,
        sections=sections,
        asked=len(set(grid.runs)),
        done=len(asked),
        weights=weights_sentence(asked),
        lite0=any(section.lite0 for section in sections),
        few_seeds=len({key.seed for key in grid.runs}) < FEW_SEEDS,
        trainings=len({key.generator_seed for key in grid.set_keys()} - {None}),
        earlier=tables.earlier_table(earlier) if earlier else None,
        provenance=report.provenance,
    )
