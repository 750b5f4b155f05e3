"""Which images of two sets are looked at side by side: those of one mask, strangers, or two of the same set."""

from collections.abc import Sequence

import numpy as np

Pairs = Sequence[tuple[int, int]]


def paired(real_ids: Sequence[str], parents: Sequence[str]) -> list[tuple[int, int]]:
    """Return (i, j) for every synthetic j whose parent is the real i."""
    place = {name: i for i, name in enumerate(real_ids)}
    return [(place[parent], j) for j, parent in enumerate(parents) if parent in place]


def unpaired(first: Sequence[str], second: Sequence[str], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return at most `most` different random pairs (i, j), sorted, whose names differ, of all that there are."""
    allowed = np.argwhere(np.asarray(first)[:, None] != np.asarray(second)[None])
    chosen = rng.choice(len(allowed), min(most, len(allowed)), replace=False)
    return [(int(i), int(j)) for i, j in allowed[np.sort(chosen)]]


def within(n: int, most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return at most `most` different random pairs i < j of n images, sorted, of all that there are."""
    allowed = np.argwhere(np.triu(np.ones((n, n), bool), 1))
    chosen = rng.choice(len(allowed), min(most, len(allowed)), replace=False)
    return [(int(i), int(j)) for i, j in allowed[np.sort(chosen)]]
