"""report: tables, figures and one page from everything that is in results/."""

import subprocess
from importlib.metadata import version
from itertools import product

from data.pairs.manifest import read_pairs
from pipeline import paths

SECTIONS = (
    *("comparison", "volume", "filtered", "datasets", "downloads", "base", "generators", "training", "masks"),
    *("sampling", "filters"),
)
READS = {name: name for name in SECTIONS}
VERSIONS = ("torch", "diffusers", "segmentation-models-pytorch", "albumentations", "dvc")


def _asked(comparison, volume, filtered) -> list[tuple]:
    """Return (dataset, architecture, source, masks, multiple, seed) of every run that params.yaml asks for."""
    block = comparison
    places = list(product(block.datasets, block.architectures))
    runs = [(*p, source, "real", 1, seed) for p, source, seed in product(places, block.baselines, block.seeds)]
    runs += [
        (*p, *set_, 1, seed) for p, set_, seed in product(places, product(block.generators, block.masks), block.seeds)
    ]
    sets = list(product(volume.generators, volume.masks))
    places = list(product(volume.datasets, volume.architectures))
    runs += [(*p, *set_, m, seed) for p, set_, m, seed in product(places, sets, volume.multiples, volume.seeds)]
    block = filtered
    places = list(product(block.datasets, block.architectures))
    sets = [(f"{name}-{row}", masks) for name, row, masks in product(block.generators, block.filters, block.masks)]
    return runs + [(*p, *set_, 1, seed) for p, set_, seed in product(places, sets, block.seeds)]


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

    comparison = params.comparison
    samples = {}
    sets = [
        *product(comparison.generators, comparison.masks),
        *((name, "real") for name in comparison.baselines if name not in BASELINES),
    ]
    for dataset, (source, masks) in product(comparison.datasets, sets):
        real = read_pairs(paths.processed(dataset, "train"))
        samples[dataset, source, masks] = (real, read_pairs(paths.samples(dataset, source, masks)))
    versions = {name: version(name) for name in VERSIONS}
    provenance = {"code": _commit()} | versions
    provenance |= {f"data set {name}": f"{row.kind}, {row.path}" for name, row in params.datasets.items()}
    runs = tuple(RunKey(*key) for key in _asked(comparison, params.volume, params.filtered))
    grid = Grid(runs, tuple(comparison.baselines))
    scores = {(one.dataset, one.source, one.masks): one for one in read_scores(paths.RESULTS)}
    made = sorted(key for key in grid.sets() if key[1] not in grid.baselines)
    write_all(params, [scores.get(key) or Scores(*key, metrics={}) for key in made], versions)
    pictures = {name: paths.RESULTS / "pictures" / name for name in comparison.datasets}
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
    )
