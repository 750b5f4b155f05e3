"""Frames of one video, found by their numbers and their likeness, so that they can stay in one split."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from data.pairs.image_io import BadImageError, read_image
from data.pairs.parallel import threaded
from data.prepare.thumbnails import thumbnail
from data.readers.npz import ArrayRow
from data.readers.sources import Source

NUMBERED = re.compile(r"^(.*?)(\d+)$")
FRAME_CORRELATION = 0.97


def alike_neighbours(
    sources: Sequence[Source], thumbnails: Sequence[np.ndarray | None], likeness: float
) -> Iterator[tuple[int, int]]:
    """Yield the positions of two numbered images that follow one another and correlate by more than `likeness`.

    They follow one another within their folder, or among all images, for a video may be cut up into several folders.
    """
    numbered = [(NUMBERED.match(source.own_name), source) for source in sources]
    frames = [
        (str(source.image.parent), found[1], int(found[2]), place)
        for place, (found, source) in enumerate(numbered)
        if found
    ]
    seen = set()
    for order in (sorted(frames), sorted(frames, key=lambda frame: (*frame[1:3], frame[0]))):
        for before, after in pairwise(order):
            small, next_small = thumbnails[before[3]], thumbnails[after[3]]
            if small is None or next_small is None or before[1] != after[1] or (before[3], after[3]) in seen:
                continue
            if float(small @ next_small) > likeness:
                seen.add((before[3], after[3]))
                yield before[3], after[3]


def _thumbnail(source: Source) -> np.ndarray | None:
    try:
        row = source.reader
        return thumbnail(row.image() if isinstance(row, ArrayRow) else read_image(source.image))
    except BadImageError:  # named when the pair is prepared
        return None


def with_sequences(sources: list[Source], likeness: float) -> list[Source]:
    """Return the sources with the folder and id of the first frame of their sequence as their group."""
    small = list(threaded(_thumbnail, sources, title="look for sequences", unit="image"))
    first = list(range(len(sources)))

    def root(place: int) -> int:
        while first[place] != place:
            place = first[place]
        return place

    for before, after in alike_neighbours(sources, small, likeness):
        one, two = sorted((root(before), root(after)))
        first[two] = one
    names = [f"{sources[root(place)].image.parent.name}-{sources[root(place)].id}" for place in range(len(sources))]
    return [replace(source, group=name) for source, name in zip(sources, names, strict=True)]
