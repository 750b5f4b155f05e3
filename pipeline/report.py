"""report: tables, figures and one page from everything that is in results/."""

import subprocess
from importlib.metadata import version
from itertools import product
from pathlib import Path

from data.pairs.manifest import read_pairs
from pipeline import paths

SECTIONS = (
    *(
        "comparison",
        "other_masks",
        "volume",
        "filtered",
        "datasets",
        "downloads",
        "base",
        "generators",
        "training",
        "masks",
    ),
    *("sampling", "filters"),
)
READS = {name: name for name in SECTIONS}
VERSIONS = ("torch", "diffusers", "segmentation-models-pytorch", "albumentations", "dvc")


def _asked(params) -> list[tuple]:
    """Return (dataset, architecture, source, masks, multiple, seed) of every run that params.yaml asks for."""
    main, other, volume, filtered = params.comparison, params.other_masks, params.volume, params.filtered

    def runs(block, sets, multiples=(1,)) -> list[tuple]:
        places = product(block.datasets, block.architectures)
        return [(*p, *set_, m, seed) for p, set_, m, seed in product(places, sets, multiples, block.seeds)]

    passed = [
        (f"{name}-{row}", masks) for name, row, masks in product(filtered.generators, filtered.filters, filtered.masks)
    ]
    return [
        *runs(main, [(source, "real") for source in main.baselines]),
        *runs(main, list(product(main.generators, main.masks))),
        *runs(other, list(product(other.generators, other.masks))),
        *runs(volume, list(product(volume.generators, volume.masks)), volume.multiples),
        *runs(filtered, passed),
    ]


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


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "not a git checkout"


def run(item: dict, params) -> None:
    """Write results/tables, results/plots, results/figures, results/cards and results/report.html.

    Raises: UserError naming every result file that is damaged.
    """
    from evaluation.html import write_report
    from evaluation.results import BASELINES, Grid, RunKey, Scores, read_scores
    from pipeline.cards import write_all

    comparison, other = params.comparison, params.other_masks
    samples = {}
    shown = [
        *product(comparison.datasets, product(comparison.generators, comparison.masks)),
        *product(other.datasets, product(other.generators, other.masks)),
        *product(comparison.datasets, ((name, "real") for name in comparison.baselines if name not in BASELINES)),
    ]
    for dataset, (source, masks) in shown:
        real = read_pairs(paths.processed(dataset, "train"))
        samples[dataset, source, masks] = (real, read_pairs(paths.samples(dataset, source, masks)))
    versions = {name: version(name) for name in VERSIONS}
    provenance = {"code": _commit()} | versions
    provenance |= {f"data set {name}": f"{row.kind}, {row.path}" for name, row in params.datasets.items()}
    runs = tuple(RunKey(*key) for key in _asked(params))
    grid = Grid(runs, tuple(comparison.baselines))
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
        provenance,
        table_dir=paths.RESULTS / "tables",
        plot_dir=paths.RESULTS / "plots",
        figure_dir=paths.RESULTS / "figures",
        page=paths.RESULTS / "report.html",
        paper_dir=paths.RESULTS / "paper",
        kinds=kinds,
        losses=_losses(runs, comparison),
    )
