"""Checks between sections of params.yaml: names that lists give, blocks that build on others, values that must fit."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

from data.pairs.mask_config import RealMasks
from pipeline.param_errors import dangling
from siamese.config import PretrainedHere
from siamese.needs import NEEDS
from siamese.rows import HintRow

if TYPE_CHECKING:
    from pipeline.params import Params

BLOCKS = ("comparison", "other_masks", "volume", "filtered")
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
            yield from (f"{block}.{key}: {n} stands twice" for i, n in enumerate(names) if n in names[:i])
            known = rows.get(key)
            if known:
                yield from (dangling(f"{block}.{key}", name, known) for name in names if name not in known)
    yield from (
        f"generators.{name}: the name is taken by a baseline"
        for name in {**dict.fromkeys(FIXED), **dict.fromkeys(rows["baselines"])}
        if name in rows["generators"]
    )


def _check_blocks(params: "Params") -> Iterable[str]:
    """Yield a line for every name in a block that does not fit the blocks that it builds on."""
    main, other = params.comparison, params.other_masks
    for block, key in product(BLOCKS[1:], ("datasets", "generators", "masks", "architectures", "seeds")):
        allowed = {*getattr(main, key), *(other.masks if key == "masks" else ())}
        for name in getattr(getattr(params, block), key):
            if block == "other_masks" and key == "masks":
                if name in main.masks:
                    yield f"other_masks.masks: {name} is in comparison.masks already"
            elif name not in allowed:
                yield f"{block}.{key}: {name} must be in comparison.{key} too, where its 1x runs are"
    for grid in (params.volume, params.filtered):
        if set(grid.masks) & set(other.masks):
            for key in ("datasets", "generators"):
                if set(getattr(grid, key)) - set(getattr(other, key)):
                    yield f"other_masks.{key}: must name all {key} that volume and filtered take with these masks"
    for name in main.scored_baselines:
        if name not in main.baselines or name == "real":
            yield f"comparison.scored_baselines: {name} must be in comparison.baselines, and not real, which is empty"
    for title, one in (("comparison", main), ("other_masks", other)):
        moved = [name for name in one.masks if not isinstance(params.masks[name], RealMasks)]
        for name in one.generators:
            if moved and NEEDS[params.generators[name].method].reference:
                yield (
                    f"{title}.generators: {name} samples each mask with its own real image, so {title}.masks must all "
                    f"be of kind real, got {', '.join(moved)}: masks of a few generators can stand in other_masks"
                )


def check_values(params: "Params") -> Iterable[str]:
    """Yield a line for every value that does not fit one of another section; every name has its row by now."""
    yield from _check_blocks(params)
    for name in (f"{generator}-{row}" for generator in params.generators for row in params.filters):
        if name in params.generators:
            yield f"generators.{name}: is the name of a filtered set too: rename the generator or the filter"
    if params.volume.datasets and params.volume.generators and params.volume.masks and not params.volume.multiples:
        yield "volume.multiples: is empty although volume names data sets: give some, or set volume.datasets: []"
    for name, kind in ((name, row.kind) for name, row in params.baselines.items()):
        if name != kind and (name in FIXED or kind in FIXED):
            yield f"baselines.{name}: rows named {' and '.join(FIXED)} are those of these kinds, got kind {kind}"
    looks = params.judge.keep != "last" or params.judge.early_stop is not None or params.judge.schedule == "plateau"
    if looks and (params.judge.keep == "best_test" or params.judge.val_share is None):
        yield "judge: sees training pairs alone: keep: last or best_val, and with validation a val_share"
    most = max(params.volume.multiples, default=1)
    for name in params.volume.masks:
        if params.masks[name].copies < most:
            yield f"masks.{name}.copies: must be at least {most}, the largest of volume.multiples"
    if isinstance(params.base, PretrainedHere):
        factor = 2 ** (len(params.base.vae.channels) - 1)
        for name, row in params.generators.items():
            if not isinstance(row, HintRow):
                continue
            stages = len(params.base.vae.channels) + (row.hint == "dhi")
            if len(row.hint_widths) != stages:
                yield (
                    f"generators.{name}.hint_widths: must be {stages} widths for hint {row.hint}, since base.vae makes "
                    f"latents {factor} times smaller; got {len(row.hint_widths)}"
                )
        multiple = factor * 2 ** (len(params.base.unet.channels) - 1)
        for name, dataset in params.datasets.items():
            if dataset.size_px % multiple:
                yield f"datasets.{name}.size_px: must be a multiple of {multiple} for this base, got {dataset.size_px}"
