"""report: tables, figures and one page from everything that is in results/."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from itertools import product
from pathlib import Path

from ruamel.yaml import YAML

from data.acquire.catalogue import terms_of
from data.pairs.manifest import read_pairs
from data.pairs.prepared import Prepared
from pipeline.params import paths
from pipeline.params.blocks import BLOCKS, added_sets, asked_runs, of_first_seed, scored_sets
from pipeline.params.presets import TABLES, composed, presets_of
from pipeline.params.yaml_text import load_yaml
from pipeline.record.settings import fingerprints
from siamese.config.sections import NEEDS

ROWS = ("datasets", "downloads", "base", "generators", "training", "masks", "sampling", "filters")
READS = {name: name for name in (*BLOCKS, *ROWS)}
LOCK = Path("dvc.lock")
SAMPLES = "samples.png"  # siamese.live.samples writes it into the folder of a generator
CODE = ("*.py", "*.yaml", "*.j2", *(f":(exclude){name}" for name in ("results", "tests", "benchmarks", "presets")))
VERSIONS = ("torch", "diffusers", "segmentation-models-pytorch", "albumentations", "dvc")


def _trained(comparison) -> dict[str, dict[str, Path]]:
    """Return what generators drew while they were trained, of the first seeds, by data set; nothing by default."""
    found: dict[str, dict[str, Path]] = {}
    trained = of_first_seed(product(comparison.datasets, comparison.generators, comparison.generator_seeds))
    for dataset, name, seed in trained:
        path = paths.generator(dataset, name, seed) / SAMPLES
        if path.is_file():
            found.setdefault(dataset, {})[name] = path
    return found


def _losses(runs, comparison) -> dict[tuple[str, str], list]:
    """Return the losses by (data set, generators or architecture), where there are any: those of the first seeds."""
    from evaluation.figures.curves import Losses
    from evaluation.results.comparison import Setting
    from evaluation.tables.tables import setting_name

    losses: dict[tuple[str, str], list[Losses]] = {}
    trained = of_first_seed(product(comparison.datasets, comparison.generators, comparison.generator_seeds))
    for dataset, name, seed in trained:
        path = paths.generator(dataset, name, seed) / "loss.csv"
        losses.setdefault((dataset, "generators"), []).append(Losses(name, path, name))
    first = min((run.seed for run in runs), default=0)
    for dataset, architecture, *setting, seed, generator_seed in of_first_seed(runs):
        if seed == first:
            source, masks, multiple = setting
            name = paths.run_name(paths.seeded(source, generator_seed), masks, multiple, seed)
            one = Losses(setting_name(Setting(*setting)), paths.curve(dataset, architecture, name), *setting)
            losses.setdefault((dataset, architecture), []).append(one)
    there = {place: [one for one in files if one.path.is_file()] for place, files in losses.items()}
    return {place: files for place, files in there.items() if files}  # imported weights have none


def _set_keys(params) -> tuple:
    from evaluation.results.results import SetKey

    return tuple(SetKey(*key) for key in added_sets(params))


def _own_masks(params) -> frozenset[str]:
    """Return the generators that make their masks themselves, also with the names of the filters behind them."""
    names = [name for name, row in params.generators.items() if NEEDS[row.method].emits_masks]
    return frozenset([*names, *(f"{name}-{filtered}" for name in names for filtered in params.filters)])


def _presets() -> dict[str, list]:
    """Return the presets of each table of the paper, with what they ask for and the settings that they have now.

    Raises: UserError for a preset that is wrong.
    """
    from evaluation.paper.values import Preset
    from evaluation.results.results import Grid, RunKey
    from pipeline.params.read import check_text

    presets: dict[str, list] = {}
    for table, kind in product(TABLES, ("paper", "toy")):
        for path in presets_of(kind, table):
            text = composed(path)
            params = check_text(text, path)
            grid = Grid(tuple(RunKey(*key) for key in asked_runs(params)), made=_set_keys(params))
            kinds = {name: row.kind for name, row in params.datasets.items()}
            settings = {key: value for key, value in load_yaml(text, path).items() if key not in BLOCKS}
            presets.setdefault(table, []).append(Preset(str(path), grid, fingerprints(settings), kinds))
    return presets


def run(item: dict, params) -> None:
    """Write results/tables, results/plots, results/figures, results/paper, results/cards and results/report.html.

    Raises: UserError naming every result file that is damaged.
    """
    from evaluation.page.page import write_report
    from evaluation.page.report import Report
    from evaluation.paper.facts import read_paper
    from evaluation.results.results import Grid, RunKey, Scores, SetKey, read_runs, read_scores
    from pipeline.stages.report_cards import write_all

    comparison = params.comparison
    samples = {}
    for dataset, source, masks, seed in of_first_seed(added_sets(params)):
        real = Prepared(paths.processed(dataset)).train
        synthetic = read_pairs(paths.samples(dataset, paths.seeded(source, seed), masks))
        samples[dataset, source, masks] = (real, synthetic)
    versions = {name: version(name) for name in VERSIONS}
    runs = tuple(RunKey(*key) for key in asked_runs(params))
    sources = (*comparison.references, *comparison.baselines)
    scored = [SetKey(dataset, *of) for dataset, of in product(comparison.datasets, scored_sets(comparison))]
    grid = Grid(runs, sources, _set_keys(params), _own_masks(params), comparison.against, tuple(scored))
    report = Report(
        read_runs(paths.RESULTS),
        read_scores(paths.RESULTS),
        grid,
        samples,
        pictured={name: paths.RESULTS / "pictures" / name for name in comparison.datasets},
        losses=_losses(runs, comparison),
        trained=_trained(comparison),
        presets=_presets() if read_paper().sizes.keys() & set(grid.datasets()) else {},
        provenance=provenance(params, versions),
    )
    scores = {one.key: one for one in grid.of_scored(report.scores)}
    carded = sorted(key for key in grid.set_keys() if key.source not in grid.baselines)
    unscored = {key: Scores(*key[:3], {}, generator_seed=key.generator_seed) for key in carded}
    write_all(params, [scores.get(key, unscored[key]) for key in carded], versions)
    write_report(report, paths.RESULTS)


def provenance(params, versions: Mapping[str, str]) -> dict[str, str]:
    """Return name -> text, in the order of the page. The same run on the same machine gives the same text.

    Times are not in here, because they differ from run to run: `python -m pipeline times` has them.
    """
    found = {"code": _commit(), "stages before the report": _lock(), **versions, "machine of this page": _machine()}
    for name, row in params.datasets.items():
        terms = terms_of(row.model_dump(mode="json"), params.downloads)
        told = "drawn by this project" if row.kind == "phantom" else terms["licence"] or "terms are not stated"
        found[f"data set {name}"] = f"{row.kind}, {row.path}; {told}"
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def _commit() -> str:
    """Return the commit, "-dirty" if tracked code or params differ from it: what a run writes itself does not count."""
    commit = _git("describe", "--always")
    dirty = _git("diff", "--name-only", "HEAD", "--", *CODE)
    return f"{commit}-dirty" if commit and dirty else commit or "not a git checkout"


def _lock() -> str:
    """Return a hash of dvc.lock without the report's own entry: what all stages read, in whatever order they ran."""
    if not LOCK.is_file():
        return "no dvc.lock: not run by DVC"
    stages = YAML(typ="safe").load(LOCK.read_text(encoding="utf-8")).get("stages", {})
    stages.pop("report", None)
    text = json.dumps(stages, sort_keys=True, default=str)
    return f"{len(stages)} in dvc.lock, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _machine() -> str:
    told = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    if not shutil.which("nvidia-smi"):
        return f"{told}, no GPU"
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    return ", ".join([told, *filter(None, names)])
