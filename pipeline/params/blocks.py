"""The blocks of params.yaml that say what runs, as lists: which pair sets they make, which segmenters they train."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

COMPARISONS = ("comparison", "second", "third")  # of different data sets
VOLUMES = ("volume", "second_volume")  # of different data sets
BLOCKS = (*COMPARISONS, "other_masks", *VOLUMES, "filtered")
SET_KEYS = ("datasets", "generators", "masks")


def set_lists() -> dict[str, str]:
    """Return the keys of params.yaml that say which pair sets are scored, as READS of a stage."""
    keys = [*product((*COMPARISONS, "other_masks"), SET_KEYS), *product(COMPARISONS, ("scored_baselines",))]
    return {f"{block}.{key}": f"{block}.{key}" for block, key in keys}


def scored_sets(lists: Mapping[str, Any], dataset: str) -> list[tuple[str, str]]:
    """Return (source, masks) of every scored set of a data set, from the values of `set_lists`."""
    found: list[tuple[str, str]] = []
    for block in (*COMPARISONS, "other_masks"):
        if dataset in lists[f"{block}.datasets"]:
            found += product(lists[f"{block}.generators"], lists[f"{block}.masks"])
            found += [(name, "real") for name in lists.get(f"{block}.scored_baselines", ())]
    return found


def comparisons(params) -> list:
    """Return the comparison and the further ones, as sections of the schema."""
    return [getattr(params, name) for name in COMPARISONS]


def asked_runs(params) -> list[tuple]:
    """Return (dataset, architecture, source, masks, multiple, seed) of every segmenter that params.yaml asks for."""
    other, filtered = params.other_masks, params.filtered

    def runs(block, sets, multiples=(1,)) -> Iterator[tuple]:
        places = product(block.datasets, block.architectures)
        for place, (source, masks), multiple, seed in product(places, sets, multiples, block.seeds):
            yield (*place, source, masks, multiple, seed)

    found: list[tuple] = []
    for block in comparisons(params):
        found += runs(block, [(source, "real") for source in block.baselines])
        found += runs(block, list(product(block.generators, block.masks)))
    found += runs(other, list(product(other.generators, other.masks)))
    for volume in (getattr(params, name) for name in VOLUMES):
        found += runs(volume, list(product(volume.generators, volume.masks)), volume.multiples)
    passed = product(filtered.generators, filtered.filters, filtered.masks)
    return found + list(runs(filtered, [(f"{generator}-{row}", masks) for generator, row, masks in passed]))


def shown_sets(params) -> list[tuple[str, str, str]]:
    """Return (dataset, source, masks) of every added set at 1x that holds pairs of its own, for pictures of pairs."""
    found: list[tuple[str, str, str]] = []
    for block in (*comparisons(params), params.other_masks):
        sets = [*product(block.generators, block.masks)]
        sets += [(name, "real") for name in getattr(block, "baselines", ()) if name not in ("real", "duplicate")]
        found += [(dataset, *one) for dataset, one in product(block.datasets, sets)]
    return found
