"""Checks between sections of params.yaml: names that lists give, blocks that build on others, values that must fit."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from data.config_errors import dangling
from pipeline.params import paths
from pipeline.params.blocks import BLOCKS, REFERENCES
from pipeline.params.mask_checks import check_masks, pseudo_masks
from pipeline.params.schema import Params
from siamese.config.base import PretrainedHere
from siamese.config.rows import HintRow, downsampling
from siamese.config.sections import NEEDS

SEEDED = re.compile(r"-g\d+$")  # the end of what a generator is called in paths


def _names(data: Any, *keys: str) -> list:
    """Return the list or the keys of the mapping that lie at data[key][key]..., or nothing where there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return list(data) if isinstance(data, list | Mapping) else []


def check_lists(data: Any) -> Iterable[str]:
    """Yield a line for every name in a list that no row has, or that stands twice; `data` need not be valid."""
    kinds = ("datasets", "baselines", "generators", "masks", "architectures", "filters")
    rows = {name: _names(data, name) for name in kinds}
    for block in BLOCKS:
        for key in (*rows, "references", "against", "generator_seeds", "seeds", "multiples"):
            names = _names(data, block, key)
            names = [name for name in names if isinstance(name, str | int)]  # what else stands there is no name
            times = Counter(names)
            yield from (f"{block}.{key}: {name} stands twice" for name, count in times.items() for _ in range(1, count))
            section = "baselines" if key == "references" else key
            known = rows.get(section)
            if known is not None and (known or (isinstance(data, Mapping) and isinstance(data.get(section), Mapping))):
                rows_of_key = set(known)
                yield from (dangling(f"{block}.{key}", name, known) for name in names if name not in rows_of_key)
    yield from (
        f"generators.{name}: the name is taken by a baseline"
        for name in dict.fromkeys((*REFERENCES, *rows["baselines"]))
        if name in rows["generators"]
    )


def _check_comparison(params: Params) -> Iterable[str]:
    """Yield a line for every name that stands in the wrong list of the comparison."""
    comparison = params.comparison
    for name in comparison.references:
        if name not in REFERENCES:
            yield f"comparison.references: {name} makes pairs of its own: it belongs into comparison.baselines"
    for name in comparison.baselines:
        if name in REFERENCES:
            yield f"comparison.baselines: {name} is what sets are compared with: it belongs into comparison.references"
    asked = (*comparison.baselines, *comparison.generators)
    yield from (dangling("comparison.against", name, asked) for name in comparison.against if name not in asked)


def _check_extension(params: Params, block: str) -> Iterable[str]:
    """Yield a line for every name of a block that the comparison lacks, on whose runs it builds."""
    grid, comparison = getattr(params, block), params.comparison
    if not grid.datasets:  # switched off
        return
    for key in ("datasets", "generators", "generator_seeds", "seeds", *(["masks"] if block == "filtered" else [])):
        for name in getattr(grid, key):
            if name not in getattr(comparison, key):
                yield f"{block}.{key}: {name} must be in comparison.{key} too, where its 1x runs are"
    for name in grid.architectures:
        if name not in comparison.architectures and params.architectures[name].real_pairs:
            yield f"{block}.architectures: {name} must be in comparison.architectures too, where its 1x runs are"


def _check_generator_seeds(params: Params) -> Iterable[str]:
    """Yield a line for generators without a seed to train them with, and for names that such a seed makes double."""
    for block in BLOCKS:
        grid = getattr(params, block)
        if grid.datasets and grid.generators and not grid.generator_seeds:
            yield f"{block}.generator_seeds: is empty although generators are named: give some, such as [0]"
    for name in params.baselines:
        if SEEDED.search(name):
            yield f"baselines.{name}: a name that ends so is that of a generator and its training seed: rename it"


def _check_volume(params: Params) -> Iterable[str]:
    """Yield a line for multiples that cannot be made, and for sets that the comparison makes already."""
    volume = params.volume
    if volume.datasets and volume.generators and volume.masks and not volume.multiples:
        yield "volume.multiples: is empty although data sets are named: give some, or set volume.datasets: []"
    if volume.datasets and volume.generators and 1 in volume.multiples:
        for name in volume.masks:
            if name in params.comparison.masks:
                yield (
                    f"volume.multiples: 1x with the masks {name} is in the comparison already: take 1 out of "
                    f"volume.multiples, or {name} out of volume.masks or comparison.masks"
                )
    most = max(volume.multiples, default=1)
    for name in volume.masks:
        if params.masks[name].copies < most:
            yield f"masks.{name}.copies: must be at least {most}, the largest of volume.multiples"


def _check_data(params: Params) -> Iterable[str]:
    """Yield a line for every data set of the comparison that lacks what a generator trains on."""
    for dataset, name in product(params.comparison.datasets, params.comparison.generators):
        row, needs = params.datasets[dataset], NEEDS[params.generators[name].method]
        if needs.normal and not row.normal:
            yield (
                f"datasets.{dataset}.normal: generators.{name} needs images without a lesion: say where they are, "
                "such as normal: {path: train/good}, or normal: {crops: 200}, squares of training images"
            )
        if needs.emits_masks and len(getattr(row, "classes", ())) > 1:
            yield (
                f"datasets.{dataset}.classes: generators.{name} makes its own masks, with one class of lesion: leave "
                "classes out, then all of them are lesion"
            )


def _check_pseudo(params: Params) -> Iterable[str]:
    """Yield a line for every data set that cannot give what pseudo masks need: images without masks, one class."""
    grid = params.comparison
    wanted = [
        f"generators.{name}" for name in grid.generators if getattr(params.generators[name], "pseudo_masks", False)
    ]
    wanted += [f"baselines.{name}" for name in grid.baselines if params.baselines[name].kind == "pseudo"]
    wanted += [f"masks.{name}" for name in pseudo_masks(params)]
    for dataset, where in product(grid.datasets, wanted):
        row = params.datasets[dataset]
        if not getattr(row, "unlabelled", ()):
            yield (
                f"datasets.{dataset}.unlabelled: {where} takes images without masks: name the folder that holds some, "
                "or rest beside limit"
            )
        if len(getattr(row, "classes", ())) > 1:
            yield (
                f"datasets.{dataset}.classes: {where} has masks by a segmenter, which tells lesion from background "
                "alone: leave classes out, then all of them are lesion"
            )


def _check_paths(params: Params) -> Iterable[str]:
    """Yield a line for every data set that DVC cannot watch: an address, a device, what the stages write themselves."""
    written = [root.absolute() for root in (paths.processed(""), paths.unlabelled(""), Path("outputs"), paths.RESULTS)]
    for name, row in params.datasets.items():
        if "://" in row.path:  # DVC would go to that address; it may hold a password, so it is not shown
            yield f"datasets.{name}.path: is an address: fetch the pairs first and give the folder where they lie"
            continue
        whole = Path(os.path.abspath(row.path))
        if os.path.exists(whole) and not (os.path.isfile(whole) or os.path.isdir(whole)):
            yield f"datasets.{name}.path: {row.path} is neither a file nor a folder: give the folder of the pairs"
        if any(root.is_relative_to(whole) for root in written):
            yield f"datasets.{name}.path: {row.path} holds what the stages write: give the folder of the pairs alone"


def check_values(params: Params) -> Iterable[str]:
    """Yield a line for every value that does not fit one of another section; every name has its row by now."""
    yield from _check_comparison(params)
    yield from _check_extension(params, "volume")
    yield from _check_extension(params, "filtered")
    yield from _check_generator_seeds(params)
    yield from check_masks(params)
    yield from _check_data(params)
    yield from _check_pseudo(params)
    yield from _check_paths(params)
    passed = Counter(f"{generator}-{row}" for generator in params.generators for row in params.filters)
    for name, count in passed.items():
        if name in params.generators or name in params.baselines or count > 1:
            yield f"filters: {name} is the name of another generator, baseline or filtered set too: rename one of them"
    yield from _check_volume(params)
    for name, kind in ((name, row.kind) for name, row in params.baselines.items()):
        if name != kind and {name, kind} & {*REFERENCES}:
            yield f"baselines.{name}: rows named {' and '.join(REFERENCES)} are those of these kinds, got kind {kind}"
    looks = params.judge.keep != "last" or params.judge.early_stop is not None or params.judge.schedule == "plateau"
    if looks and (params.judge.keep == "best_test" or params.judge.val_share is None):
        yield "judge: sees training pairs alone: keep: last or best_val, and with validation a val_share"
    for generator, dataset in product(params.comparison.generators, params.comparison.datasets):
        multiple = getattr(params.generators[generator], "size_multiple", 1)
        if params.datasets[dataset].size_px % multiple:
            yield f"datasets.{dataset}.size_px: must be a multiple of {multiple} for generators.{generator}"
        for misfit in params.generators[generator].size_problems(params.datasets[dataset].size_px):
            yield f"generators.{generator}.{misfit}, for the images of datasets.{dataset}"
    if isinstance(params.base, PretrainedHere):
        factor, multiple = downsampling(params.base.vae.channels), params.base.size_multiple
        for name, row in params.generators.items():
            if isinstance(row, HintRow) and (problem := row.hint_problem(factor)):
                yield f"generators.{name}.{problem}"
        for name, data in params.datasets.items():
            if data.size_px % multiple:
                yield f"datasets.{name}.size_px: must be a multiple of {multiple} for this base, got {data.size_px}"
