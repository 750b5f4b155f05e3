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
    from evaluation.results import Grid, RunKey, Scores, read_scores
    from pipeline.cards import write_all

    comparison = params.comparison
    samples = {}
    for dataset, generator, masks in product(comparison.datasets, comparison.generators, comparison.masks):
        real = read_pairs(paths.processed(dataset, "train"))
        samples[dataset, generator, masks] = (real, read_pairs(paths.samples(dataset, generator, masks)))
    versions = {name: version(name) for name in VERSIONS}
    provenance = {"code": _commit()} | versions
    provenance |= {f"data set {name}": f"{row.kind}, {row.path}" for name, row in params.datasets.items()}
    grid = Grid(tuple(RunKey(*key) for key in _asked(comparison, params.volume, params.filtered)))
    scores = {(one.dataset, one.source, one.masks): one for one in read_scores(paths.RESULTS)}
    write_all(params, [scores.get(key) or Scores(*key, metrics={}) for key in sorted(grid.sets())], versions)
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
