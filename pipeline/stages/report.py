"""report: tables, figures and one page from everything that is in results/."""

from importlib.metadata import version
from itertools import product
from pathlib import Path

from data.pairs.manifest import read_pairs
from pipeline.params import paths
from pipeline.params.blocks import BLOCKS, asked_runs, shown_sets
from pipeline.params.paper_tables import KINDS, TABLES, presets_of
from pipeline.params.presets import composed
from pipeline.params.yaml_text import load_yaml
from pipeline.record.settings import fingerprints
from pipeline.stages.report_provenance import provenance

ROWS = ("datasets", "downloads", "base", "generators", "training", "masks", "sampling", "filters")
READS = {name: name for name in (*BLOCKS, *ROWS)}
VERSIONS = ("torch", "diffusers", "segmentation-models-pytorch", "albumentations", "dvc")


def _losses(runs, comparison) -> dict[tuple[str, str], dict[str, Path]]:
    """Return the files of losses by (data set, generators or architecture): of segmenters those of their first seed."""
    losses: dict[tuple[str, str], dict[str, Path]] = {}
    for dataset, name in product(comparison.datasets, comparison.generators):
        losses.setdefault((dataset, "generators"), {})[name] = paths.generator(dataset, name) / "loss.csv"
    first = min((run.seed for run in runs), default=0)
    for run in (run for run in runs if run.seed == first):
        name = paths.run_name(*run[2:])
        curve = paths.curve(run.dataset, run.architecture, name)
        losses.setdefault((run.dataset, run.architecture), {})[name] = curve
    there = {place: {name: path for name, path in files.items() if path.is_file()} for place, files in losses.items()}
    return {place: files for place, files in there.items() if files}  # imported weights have none


def _presets() -> dict[str, list]:
    """Return the presets of each table of the paper, with what they ask for and the settings that they have now.

    Raises: UserError for a preset that is wrong.
    """
    from evaluation.paper.values import Preset
    from evaluation.results.results import Grid, RunKey
    from pipeline.params.read import check_text

    presets: dict[str, list] = {}
    for table, kind in product(TABLES, KINDS):
        for path in presets_of(table, kind):
            text = composed(path)
            params = check_text(text, path)
            grid = Grid(tuple(RunKey(*key) for key in asked_runs(params)), made=tuple(shown_sets(params)))
            kinds = {name: row.kind for name, row in params.datasets.items()}
            presets.setdefault(table, []).append(Preset(str(path), grid, fingerprints(load_yaml(text, path)), kinds))
    return presets


def run(item: dict, params) -> None:
    """Write results/tables, results/plots, results/figures, results/paper, results/cards and results/report.html.

    Raises: UserError naming every result file that is damaged.
    """
    from evaluation.page.page import Report, write_report
    from evaluation.paper.facts import read_paper
    from evaluation.results.results import Grid, RunKey, Scores, read_runs, read_scores
    from pipeline.stages.report_cards import write_all

    comparison = params.comparison
    samples = {}
    for dataset, source, masks in shown_sets(params):
        real = read_pairs(paths.processed(dataset, "train"))
        samples[dataset, source, masks] = (real, read_pairs(paths.samples(dataset, source, masks)))
    versions = {name: version(name) for name in VERSIONS}
    runs = tuple(RunKey(*key) for key in asked_runs(params))
    grid = Grid(runs, (*comparison.references, *comparison.baselines), tuple(samples))
    report = Report(
        read_runs(paths.RESULTS),
        read_scores(paths.RESULTS),
        grid,
        samples,
        pictured={name: paths.RESULTS / "pictures" / name for name in comparison.datasets},
        losses=_losses(runs, comparison),
        presets=_presets() if read_paper().sizes.keys() & set(grid.datasets()) else {},
        provenance=provenance(params, versions),
    )
    scores = {(one.dataset, one.source, one.masks): one for one in report.scores}
    synthetic = sorted(key for key in grid.sets() if key[1] not in grid.baselines)
    write_all(params, [scores.get(key) or Scores(*key, metrics={}) for key in synthetic], versions)
    write_report(report, paths.RESULTS)
