"""Frames of one video, found by their numbers and their likeness, so that they can stay in one split."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from data.pairs.duplicates import thumbnail
from data.pairs.image_io import BadImageError
from data.pairs.parallel import threaded
from data.pairs.sources import Source, read_source

NUMBERED = re.compile(r"^(.*?)(\d+)$")
FRAME_CORRELATION = 0.97


def natural(name: str) -> list[int | str]:
    """Return a key that sorts frame2 before frame10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def alike_neighbours(
    sources: Sequence[Source], thumbnails: Sequence[np.ndarray | None], likeness: float
) -> Iterator[tuple[int, int]]:
    """Yield the positions of two images whose numbers follow one another and that correlate by more than `likeness`."""
    order = sorted(range(len(sources)), key=lambda i: (sources[i].split, natural(sources[i].id)))
    for before, after in pairwise(order):
        one, two = NUMBERED.match(sources[before].id), NUMBERED.match(sources[after].id)
        small, next_small = thumbnails[before], thumbnails[after]
        if small is None or next_small is None or not one or not two or sources[before].split != sources[after].split:
            continue
        if one[1] == two[1] and int(two[2]) - int(one[2]) == 1 and float(small @ next_small) > likeness:
            yield before, after


def _thumbnail(source: Source) -> np.ndarray | None:
    try:
        return thumbnail(read_source(source, 0)[0])
    except BadImageError:  # named when the pair is prepared
        return None


def with_sequences(sources: list[Source], likeness: float) -> list[Source]:
    """Return the sources with the id of the first frame of their sequence as their group."""
    small = list(threaded(_thumbnail, sources, title="look for sequences", unit="image"))
    first = list(range(len(sources)))
    for before, after in alike_neighbours(sources, small, likeness):
        first[after] = first[before]
    return [replace(source, group=sources[place].id) for source, place in zip(sources, first, strict=True)]
