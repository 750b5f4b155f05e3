"""Checks between sections of params.yaml: names that lists give, blocks that build on others, values that must fit."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.masks.config import RealMasks
from pipeline.params import paths
from pipeline.params.blocks import BLOCKS, COMPARISONS, VOLUMES
from pipeline.params.errors import dangling
from siamese.config.rows import HintRow, downsampling
from siamese.config.sections import NEEDS, PretrainedHere

if TYPE_CHECKING:
    from pipeline.params.schema import Params

FIXED = ("real", "duplicate")  # names that the report knows, so each has its own kind


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
        for key in (*rows, "seeds", "multiples"):
            names = _names(data, block, key)
            names = [name for name in names if isinstance(name, str | int)]  # what else stands there is no name
            times = Counter(names)
            yield from (f"{block}.{key}: {name} stands twice" for name, count in times.items() for _ in range(1, count))
            known = rows.get(key)
            if known is not None and (known or (isinstance(data, Mapping) and isinstance(data.get(key), Mapping))):
                rows_of_key = set(known)
                yield from (dangling(f"{block}.{key}", name, known) for name in names if name not in rows_of_key)
    yield from (
        f"generators.{name}: the name is taken by a baseline"
        for name in {**dict.fromkeys(FIXED), **dict.fromkeys(rows["baselines"])}
        if name in rows["generators"]
    )


def _check_blocks(params: "Params") -> Iterable[str]:
    """Yield a line for every name in a block that does not fit the blocks that it builds on."""
    home = {name: block for block in COMPARISONS for name in getattr(params, block).datasets}  # data set -> comparison
    for block in COMPARISONS:
        grid = getattr(params, block)
        yield from (f"{block}.datasets: {n} stands in {home[n]} too" for n in grid.datasets if home[n] != block)
        for name in grid.scored_baselines:
            if name not in grid.baselines or name == "real":
                yield f"{block}.scored_baselines: {name} must be in {block}.baselines, and not real, which is empty"
    for block in BLOCKS[len(COMPARISONS) :]:
        for dataset in getattr(params, block).datasets:
            if dataset not in home:
                yield f"{block}.datasets: {dataset} must be in comparison, second or third too, where its 1x runs are"
            else:
                yield from _check_extension(params, block, home[dataset])
    for block in (*COMPARISONS, "other_masks"):
        grid = getattr(params, block)
        moved = [name for name in grid.masks if not isinstance(params.masks[name], RealMasks)]
        for name in grid.generators:
            if moved and NEEDS[params.generators[name].method].reference:
                yield (
                    f"{block}.generators: {name} samples each mask with its own real image, so {block}.masks must all "
                    f"be of kind real, got {', '.join(moved)}: masks of a few generators can stand in other_masks"
                )


def _check_extension(params: "Params", block: str, home: str) -> Iterable[str]:
    """Yield a line for every name of a block that its data set's comparison lacks."""
    grid, main, other = getattr(params, block), getattr(params, home), params.other_masks
    for key in ("generators", "seeds"):
        for name in getattr(grid, key):
            if name not in getattr(main, key):
                yield f"{block}.{key}: {name} must be in {home}.{key} too, where its 1x runs are"
    compared = {name for one in COMPARISONS for name in getattr(params, one).architectures}
    for name in grid.architectures:
        if name not in compared and params.architectures[name].real_pairs:
            yield f"{block}.architectures: {name} must be in {home}.architectures too, where its 1x runs are"
    for name in grid.masks:
        if block == "other_masks" and name in main.masks:
            yield f"other_masks.masks: {name} is in {home}.masks already"
        elif block != "other_masks" and name not in (*main.masks, *other.masks):
            yield f"{block}.masks: {name} must be in {home}.masks or other_masks.masks too, where its 1x runs are"
    if block != "other_masks" and (set(grid.masks) & set(other.masks)) - set(main.masks):
        for key in ("datasets", "generators"):
            if set(getattr(grid, key)) - set(getattr(other, key)):
                yield f"other_masks.{key}: must name all {key} that {block} takes with these masks"


def _check_paths(params: "Params") -> Iterable[str]:
    """Yield a line for every data set that DVC cannot watch: an address, a device, what the stages write themselves."""
    written = [root.absolute() for root in (paths.processed(""), Path("outputs"), paths.RESULTS)]
    for name, row in params.datasets.items():
        if "://" in row.path:  # DVC would go to that address; it may hold a password, so it is not shown
            yield f"datasets.{name}.path: is an address: fetch the pairs first and give the folder where they lie"
            continue
        whole = Path(os.path.abspath(row.path))
        if os.path.exists(whole) and not (os.path.isfile(whole) or os.path.isdir(whole)):
            yield f"datasets.{name}.path: {row.path} is neither a file nor a folder: give the folder of the pairs"
        if any(root.is_relative_to(whole) for root in written):
            yield f"datasets.{name}.path: {row.path} holds what the stages write: give the folder of the pairs alone"


def check_values(params: "Params") -> Iterable[str]:
    """Yield a line for every value that does not fit one of another section; every name has its row by now."""
    yield from _check_blocks(params)
    yield from _check_paths(params)
    passed = Counter(f"{generator}-{row}" for generator in params.generators for row in params.filters)
    for name, count in passed.items():
        if name in params.generators or name in params.baselines or count > 1:
            yield f"filters: {name} is the name of another generator, baseline or filtered set too: rename one of them"
    for block in VOLUMES:
        volume = getattr(params, block)
        if volume.datasets and volume.generators and volume.masks and not volume.multiples:
            yield f"{block}.multiples: is empty although data sets are named: give some, or set {block}.datasets: []"
        most = max(volume.multiples, default=1)
        for name in volume.masks:
            if params.masks[name].copies < most:
                yield f"masks.{name}.copies: must be at least {most}, the largest of {block}.multiples"
    first = set(params.volume.datasets)
    for name in params.second_volume.datasets:
        if name in first:
            yield f"second_volume.datasets: {name} stands in volume too"
    for name, kind in ((name, row.kind) for name, row in params.baselines.items()):
        if name != kind and (name in FIXED or kind in FIXED):
            yield f"baselines.{name}: rows named {' and '.join(FIXED)} are those of these kinds, got kind {kind}"
    looks = params.judge.keep != "last" or params.judge.early_stop is not None or params.judge.schedule == "plateau"
    if looks and (params.judge.keep == "best_test" or params.judge.val_share is None):
        yield "judge: sees training pairs alone: keep: last or best_val, and with validation a val_share"
    for block in COMPARISONS:
        grid = getattr(params, block)
        for name, dataset in product(grid.generators, grid.datasets):
            multiple = getattr(params.generators[name], "size_multiple", 1)
            if params.datasets[dataset].size_px % multiple:
                yield f"datasets.{dataset}.size_px: must be a multiple of {multiple} for generators.{name}"
    if isinstance(params.base, PretrainedHere):
        factor, multiple = downsampling(params.base.vae.channels), params.base.size_multiple
        for name, row in params.generators.items():
            if isinstance(row, HintRow) and (problem := row.hint_problem(factor)):
                yield f"generators.{name}.{problem}"
        for name, dataset in params.datasets.items():
            if dataset.size_px % multiple:
                yield f"datasets.{name}.size_px: must be a multiple of {multiple} for this base, got {dataset.size_px}"
