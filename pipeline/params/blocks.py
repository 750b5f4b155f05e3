"""The blocks of params.yaml that say what runs, as lists: which pair sets they make, which segmenters they train."""

from collections.abc import Iterable, Iterator
from itertools import product

BLOCKS = ("comparison", "volume", "filtered")
REFERENCES = ("real", "duplicate")  # names that the report knows, so each has its own kind of row
NUMBERS = ("generator_seed", "multiple", "seed")  # options of stages that are no names

PairSetKey = tuple[str, str, str, int | None]  # data set, source, masks, training seed of the generator that made it


def scored_sets(comparison) -> list[tuple[str, str, int | None]]:
    """Return (source, masks, generator seed) of the sets of a data set that are scored, all at 1x."""
    made = product(comparison.generators, comparison.masks, comparison.generator_seeds)
    return [*made, *((name, "real", None) for name in comparison.baselines)]


def added_sets(params) -> list[PairSetKey]:
    """Return every added set at 1x that holds pairs of its own: those that are scored, and further masks of volume."""
    volume = params.volume
    sets = list(product(params.comparison.datasets, scored_sets(params.comparison)))
    if 1 in volume.multiples:
        sets += product(volume.datasets, product(volume.generators, volume.masks, volume.generator_seeds))
    return [(dataset, *added) for dataset, added in sets]


def of_first_seed(sets: Iterable[tuple]) -> list[tuple]:
    """Return those of the sets, whose last field is the generator's seed, that are of its first one: for pictures."""
    first: dict[tuple, tuple] = {}
    for key in sets:
        first.setdefault(key[:-1], key)
    return list(first.values())


def asked_runs(params) -> list[tuple]:
    """Return every segmenter that params.yaml asks for.

    Each is (dataset, architecture, source, masks, multiple, seed, generator seed); the generator seed is None for
    references and baselines.
    """
    comparison, volume, filtered = params.comparison, params.volume, params.filtered

    def runs(block, sets, generator_seeds, multiples=(1,)) -> Iterator[tuple]:
        places = product(block.datasets, block.architectures)
        for place, (source, masks), *numbers in product(places, sets, multiples, block.seeds, generator_seeds):
            yield (*place, source, masks, *numbers)

    others = [(name, "real") for name in (*comparison.references, *comparison.baselines)]
    passed = product(filtered.generators, filtered.filters, filtered.masks)
    passed_sets = [(f"{generator}-{row}", masks) for generator, row, masks in passed]
    made, further = (list(product(block.generators, block.masks)) for block in (comparison, volume))
    return [
        *runs(comparison, others, [None]),
        *runs(comparison, made, comparison.generator_seeds),
        *runs(volume, further, volume.generator_seeds, volume.multiples),
        *runs(filtered, passed_sets, filtered.generator_seeds),
    ]
