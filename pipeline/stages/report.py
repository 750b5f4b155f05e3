"""report: tables, figures and one page from everything that is in results/."""

from importlib.metadata import version
from itertools import product
from pathlib import Path

from data.pairs.manifest import read_pairs
from pipeline.params import paths
from pipeline.params.blocks import BLOCKS, asked_runs, shown_sets
from pipeline.stages.report_provenance import provenance

ROWS = ("datasets", "downloads", "base", "generators", "training", "masks", "sampling", "filters")
READS = {name: name for name in (*BLOCKS, *ROWS)}
VERSIONS = ("torch", "diffusers", "segmentation-models-pytorch", "albumentations", "dvc")


def _losses(runs, comparison) -> dict[tuple[str, str], dict[str, Path]]:
    """Return the files of losses by (data set, generators or architecture): of segmenters those of their first seed."""
    files = [
        ((dataset, "generators"), name, paths.generator(dataset, name) / "loss.csv")
        for dataset, name in product(comparison.datasets, comparison.generators)
    ]
    first = min((run.seed for run in runs), default=0)
    files += [
        ((run.dataset, run.architecture), name, paths.curve(run.dataset, run.architecture, name))
        for run in runs
        if run.seed == first
        for name in [paths.run_name(*run[2:])]
    ]
    losses: dict[tuple[str, str], dict[str, Path]] = {}
    for place, name, path in files:
        if path.is_file():  # imported weights have none
            losses.setdefault(place, {})[name] = path
    return losses


def run(item: dict, params) -> None:
    """Write results/tables, results/plots, results/figures, results/cards and results/report.html.

    Raises: UserError naming every result file that is damaged.
    """
    from evaluation.page.page import write_report
    from evaluation.results.results import Grid, RunKey, Scores, read_scores
    from pipeline.stages.report_cards import write_all

    comparison = params.comparison
    samples = {}
    for dataset, source, masks in shown_sets(params):
        real = read_pairs(paths.processed(dataset, "train"))
        samples[dataset, source, masks] = (real, read_pairs(paths.samples(dataset, source, masks)))
    versions = {name: version(name) for name in VERSIONS}
    runs = tuple(RunKey(*key) for key in asked_runs(params))
    grid = Grid(runs, (*comparison.references, *comparison.baselines), tuple(samples))
    scores = {(one.dataset, one.source, one.masks): one for one in read_scores(paths.RESULTS)}
    made = sorted(key for key in grid.sets() if key[1] not in grid.baselines)
    write_all(params, [scores.get(key) or Scores(*key, metrics={}) for key in made], versions)
    pictures = {name: paths.RESULTS / "pictures" / name for name in comparison.datasets}
    kinds = {name: row.kind for name, row in params.datasets.items()}
    write_report(
        paths.RESULTS,
        grid,
        samples,
        pictures,
        provenance(params, versions),
        table_dir=paths.RESULTS / "tables",
        plot_dir=paths.RESULTS / "plots",
        figure_dir=paths.RESULTS / "figures",
        page=paths.RESULTS / "report.html",
        paper_dir=paths.RESULTS / "paper",
        kinds=kinds,
        losses=_losses(runs, comparison),
    )
