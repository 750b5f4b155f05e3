"""The blocks of params.yaml that say what runs, as lists: which pair sets they make, which segmenters they train."""

from collections.abc import Iterator
from itertools import product

BLOCKS = ("comparison", "volume", "filtered")
REFERENCES = ("real", "duplicate")  # names that the report knows, so each has its own kind of row


def scored_sets(comparison) -> list[tuple[str, str]]:
    """Return (source, masks) of the sets of a data set that hold pairs of their own and are scored, all at 1x."""
    made = product(comparison.generators, comparison.masks)
    return [*made, *((name, "real") for name in comparison.baselines)]


def shown_sets(params) -> list[tuple[str, str, str]]:
    """Return (dataset, source, masks) of every added set at 1x that holds pairs of its own, for pictures of pairs."""
    volume = params.volume
    sets = list(product(params.comparison.datasets, scored_sets(params.comparison)))
    if 1 in volume.multiples:
        sets += product(volume.datasets, product(volume.generators, volume.masks))
    return [(dataset, *added) for dataset, added in sets]


def asked_runs(params) -> list[tuple]:
    """Return (dataset, architecture, source, masks, multiple, seed) of every segmenter that params.yaml asks for."""
    comparison, volume, filtered = params.comparison, params.volume, params.filtered

    def runs(block, sets, multiples=(1,)) -> Iterator[tuple]:
        places = product(block.datasets, block.architectures)
        for place, (source, masks), multiple, seed in product(places, sets, multiples, block.seeds):
            yield (*place, source, masks, multiple, seed)

    passed = product(filtered.generators, filtered.filters, filtered.masks)
    return [
        *runs(comparison, [(name, "real") for name in (*comparison.references, *comparison.baselines)]),
        *runs(comparison, list(product(comparison.generators, comparison.masks))),
        *runs(volume, list(product(volume.generators, volume.masks)), volume.multiples),
        *runs(filtered, [(f"{generator}-{row}", masks) for generator, row, masks in passed]),
    ]
