"""The report: one HTML page that needs nothing else, and the tables, curves and figures beside it."""

import base64
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from data.pairs.files import whole_folder, write_text
from data.pairs.manifest import PairSet
from evaluation.figures.curves import loss_figure, volume_curve
from evaluation.figures.sheets import method_grid, pair_grid
from evaluation.paper.pages import FIGURE, write_paper
from evaluation.paper.render import NOTE, notes, text_table, title
from evaluation.paper.tables import PaperTable
from evaluation.results.comparison import build_table, volume_series
from evaluation.results.results import Grid, Run, Scores, read_runs, read_scores
from evaluation.results.significance import Comparison, compare_all
from evaluation.tables import significance_text, tables
from evaluation.tables.conventions import render_conventions
from evaluation.tables.score_section import score_section, weights_sentence
from evaluation.tables.verdict import FEW_SEEDS, judge

TEMPLATE = Path(__file__).with_name("report.html.j2")

SetKey = tuple[str, str, str]  # dataset, generator, masks
Tests = Mapping[str, Sequence[Comparison]]  # by data set


class Picture(NamedTuple):
    """A PNG of the report, what it shows, and its kind: curve, methods, pairs, sets, copies, losses or paper."""

    dataset: str
    kind: str
    title: str
    png: bytes

    @property
    def uri(self) -> str:
        """Return the picture as a data: URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def write_report(
    results: Path,
    grid: Grid,
    samples: Mapping[SetKey, tuple[PairSet, PairSet]],
    pictured: Mapping[str, Path],
    provenance: Mapping[str, str],
    *,
    table_dir: Path,
    plot_dir: Path,
    figure_dir: Path,
    page: Path,
    paper_dir: Path | None = None,
    kinds: Mapping[str, str] | None = None,
    losses: Mapping[tuple[str, str], Mapping[str, Path]] | None = None,
) -> None:
    """Write everything that the report stage leaves; each folder is replaced whole, also when it ends up empty.

    `results` holds segmentation/, scores/ and details/. `samples` gives the real training pairs and the x1 set of each
    synthetic set that is to be shown, `pictured` the folder of PNGs of each data set that the pictures stage left.
    `provenance` is printed as it is, in its order. Written are
    table_dir/<dataset>.md, <dataset>.csv, <dataset>-scores.csv, <dataset>-conventions.md, <dataset>-tests.md,
    <dataset>-tests.csv and README.md,
    plot_dir/<dataset>/<architecture>/<source>-<masks>.csv, figure_dir/<dataset>/<generator>-<masks>.png, volume.png,
    methods-<masks>.png where two generators had the same masks, and the page.

    With `paper_dir` the tables of the paper are written there with our results; `kinds` is the kind of each data set of
    params.yaml. `losses` gives, for (data set, what was trained), name -> CSV file of losses; each is drawn as
    figure_dir/<dataset>/losses-<what>.png and .svg.

    Raises: UserError naming every result file that is damaged.
    """
    runs, scores = read_runs(results), read_scores(results)
    series = volume_series(grid.asked(runs))
    tests = {dataset: compare_all(dataset, runs, grid) for dataset in grid.datasets()}
    paper = write_paper(results, grid, kinds or {}, paper_dir) if paper_dir else []
    with ExitStack() as stack:
        table_dir, plot_dir, figure_dir = (
            stack.enter_context(whole_folder(folder)) for folder in (table_dir, plot_dir, figure_dir)
        )
        _write_tables(table_dir, runs, scores, grid, tests)
        for (dataset, architecture, source, masks), points in series.items():
            path = plot_dir / dataset / architecture / f"{source}-{masks}.csv"
            write_text(path, tables.render_series_csv(points))
        pictures = []
        for dataset in grid.datasets():
            curves = {key: points for key, points in series.items() if key[0] == dataset}
            if curves:
                path = figure_dir / dataset / "volume.png"
                volume_curve(curves, path)
                pictures.append(Picture(dataset, "curve", "mDice against synthetic volume", path.read_bytes()))
        made = {key: pairs for key, pairs in samples.items() if key[1] not in grid.baselines}
        pictures += _methods(made, figure_dir)
        for (dataset, what), files in (losses or {}).items():
            stem = figure_dir / dataset / f"losses-{what}"
            loss_figure(files, stem)
            pictures.append(Picture(dataset, "losses", f"Losses: {what}", stem.with_suffix(".png").read_bytes()))
        if paper_dir and (paper_dir / f"{FIGURE}.png").is_file():
            pictures.append(Picture("", "paper", "Figure 7", (paper_dir / f"{FIGURE}.png").read_bytes()))
        for (dataset, generator, masks), (real, synthetic) in samples.items():
            path = figure_dir / dataset / f"{generator}-{masks}.png"
            pair_grid(real, synthetic, path)
            pictures.append(Picture(dataset, "pairs", f"{generator}, {masks} masks", path.read_bytes()))
        for dataset, folder in pictured.items():
            pictures += [
                Picture(dataset, *_told(path.stem), path.read_bytes()) for path in sorted(folder.glob("*.png"))
            ]
        write_text(page, render_report(runs, scores, grid, pictures, provenance, tests, paper))


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


def _told(name: str) -> tuple[str, str]:
    """Return kind and title of a picture by its file name."""
    if name.startswith("copies-"):
        return "copies", name.removeprefix("copies-")
    return "sets", {"tsne": "Features of real and synthetic images", "colour": "Colours in Lab"}.get(name, name)


def _write_tables(folder: Path, runs: Sequence[Run], scores: Sequence[Scores], grid: Grid, tests: Tests) -> None:
    index = ["# Tables", "", "Values in CSV files are 0-1 and as they were read; Markdown tables are in %.", ""]
    for dataset in grid.datasets():
        table = build_table(dataset, runs, scores, grid)
        write_text(folder / f"{dataset}.md", tables.render_markdown(table))
        write_text(folder / f"{dataset}.csv", tables.render_csv(dataset, runs, grid))
        write_text(folder / f"{dataset}-scores.csv", tables.render_scores_csv(dataset, scores))
        write_text(folder / f"{dataset}-conventions.md", render_conventions(dataset, runs, grid))
        write_text(folder / f"{dataset}-tests.md", significance_text.render_markdown(dataset, tests[dataset]))
        write_text(folder / f"{dataset}-tests.csv", significance_text.render_csv(dataset, tests[dataset]))
        index.append(
            f"- {dataset}: [table]({dataset}.md), [one line a run]({dataset}.csv), "
            f"[one line a synthetic set]({dataset}-scores.csv), [every convention]({dataset}-conventions.md), "
            f"[is a difference real?]({dataset}-tests.md), [the same as numbers]({dataset}-tests.csv)"
        )
    write_text(folder / "README.md", "\n".join([*index, ""]))


def render_report(
    runs: Sequence[Run],
    scores: Sequence[Scores],
    grid: Grid,
    pictures: Sequence[Picture],
    provenance: Mapping[str, str],
    tests: Tests,
    paper: Sequence[PaperTable] = (),
) -> str:
    """Return the page as HTML: no script, no request, all text escaped; the same input gives the same bytes."""
    from jinja2 import Environment, StrictUndefined

    built = [build_table(dataset, runs, scores, grid) for dataset in grid.datasets()]
    current = [one for one in scores if (one.dataset, one.source, one.masks) in grid.sets()]
    scored = {dataset: [one for one in current if one.dataset == dataset] for dataset in grid.datasets()}
    sections = [score_section(dataset, mine) for dataset, mine in scored.items() if mine]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    earlier = grid.earlier(runs)
    return template.render(
        verdicts=[judge(table, name, tests[table.dataset]) for table in built for name in table.architectures],
        datasets=[
            (table.dataset, tables.text_table(table), " ".join([*tables.tested_on(table), tables.NOTE]))
            for table in built
        ],
        tested={
            name: significance_text.comparison_table(found)
            for name, found in tests.items()
            if any(one.estimate for one in found)
        },
        tested_note=significance_text.NOTE,
        pictures=pictures,
        paper=[(title(table), text_table(table), notes(table)) for table in paper if table.asked or table.has_results],
        paper_note=NOTE,
        sections=sections,
        asked=len(set(grid.runs)),
        done=len(grid.asked(runs)),
        weights=weights_sentence(grid.asked(runs)),
        demo=any(section.demo for section in sections),
        few_seeds=len({key.seed for key in grid.runs}) < FEW_SEEDS,
        earlier=tables.earlier_table(earlier) if earlier else None,
        provenance=provenance,
    )
