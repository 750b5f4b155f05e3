"""Images that are nearly the same, and frames of one video, found by the correlation of small grey copies."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from data.pairs.image_io import BadImageError, read_image
from data.pairs.parallel import threaded
from data.readers.npz import ArrayRow
from data.readers.sources import Source

NUMBERED = re.compile(r"^(.*?)(\d+)$")
FRAME_CORRELATION = 0.97
SIDE = 32
BLOCK = 1024
# Measured: the known near-duplicates of Kvasir-SEG correlate by 0.993 to 0.9999, the most alike distinct images of 620
# of Kvasir-SEG by 0.950, of 140 of PH2 by 0.960, of 112 phantoms by 0.81.
DUPLICATE_CORRELATION = 0.99


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return float32 (1024,) of zero mean and unit length from uint8 (H, W, 3); zeros for an image of one colour."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > SIDE else np.zeros_like(small)  # less than one grey step a pixel is no content


def near_duplicates(thumbnails: np.ndarray, splits: Sequence[str], *, across: bool) -> list[tuple[int, int, float]]:
    """Return (place, place, correlation) of images that are alike, most alike first: for each only the nearest one.

    `thumbnails` is (N, 1024). With `across` the two are of different splits, else of the same. Compared in blocks, and
    at most N pairs are kept, so that neither a large set nor a video makes it grow with the square of N.
    """
    _, split_of = np.unique(splits, return_inverse=True)
    nearest = np.zeros(len(splits), np.int64)
    best = np.full(len(splits), -1.0, np.float32)
    for row in range(0, len(splits), BLOCK):
        rows = slice(row, row + BLOCK)
        for column in range(0, len(splits), BLOCK):
            columns = thumbnails[column : column + BLOCK].astype(np.float32)
            likeness = thumbnails[rows].astype(np.float32) @ columns.T
            same = split_of[rows, None] == split_of[None, column : column + BLOCK]
            likeness[same if across else ~same] = -1
            if row == column:
                np.fill_diagonal(likeness, -1)
            place = likeness.argmax(1)
            value = likeness[np.arange(len(place)), place]
            better = value > best[rows]
            best[rows][better], nearest[rows][better] = value[better], place[better] + column
    alike = [int(place) for place in np.nonzero(best >= DUPLICATE_CORRELATION)[0]]
    pairs = {(min(i, int(nearest[i])), max(i, int(nearest[i]))): min(1.0, round(float(best[i]), 5)) for i in alike}
    return sorted(((i, j, likeness) for (i, j), likeness in pairs.items()), key=lambda pair: (-pair[2], pair))


def alike_neighbours(
    sources: Sequence[Source], thumbnails: Sequence[np.ndarray | None], likeness: float
) -> Iterator[tuple[int, int]]:
    """Yield the positions of two numbered images that follow one another and correlate by more than `likeness`.

    They follow one another within their folder, or among all images, for a video may be cut up into several folders.
    """
    frames = [
        (str(source.image.parent), match[1], int(match[2]), place)
        for place, source in enumerate(sources)
        if (match := NUMBERED.match(source.own_name))
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
        return thumbnail(row.image_alone() if isinstance(row, ArrayRow) else read_image(source.image))
    except BadImageError:  # named when the pair is prepared
        return None


def with_sequences(sources: list[Source], likeness: float) -> list[Source]:
    """Return the sources with the folder and id of the first frame of their sequence as their group."""
    small = list(threaded(_thumbnail, sources, title="look for sequences", unit="image"))
    first = np.arange(len(sources))  # of the sequence of each image
    for places in alike_neighbours(sources, small, likeness):
        joined = first[list(places)]
        first[np.isin(first, joined)] = joined.min()
    names = [f"{sources[place].image.parent.name}-{sources[place].id}" for place in first]
    return [replace(source, group=name) for source, name in zip(sources, names, strict=True)]
