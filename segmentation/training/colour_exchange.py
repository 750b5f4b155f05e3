"""Colour exchange: an image takes mean and spread of the LAB channels of a donor (spec/segmenters.md 1.3, SANet)."""

from collections.abc import Callable, Sequence

import numpy as np

from data.pairs.errors import UserError
from segmentation.config.architectures import ColourExchange

ALL = "*"
Donor = Callable[[int, int], int]


def exchange(image: np.ndarray, donor: np.ndarray, *, wrap: bool) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB with the donor's mean and standard deviation in each 8-bit LAB channel.

    The whole frame counts, black borders included. A channel of one value takes the donor's mean. Values beyond 0-255
    are cut off, or wrap around as the official cast to 8 bits lets them.
    """
    import cv2

    lab, other = (cv2.cvtColor(array, cv2.COLOR_RGB2LAB).astype(np.float64) for array in (image, donor))
    spread = lab.std(axis=(0, 1))
    gain = np.divide(other.std(axis=(0, 1)), spread, out=np.zeros(3), where=spread > 0)
    moved = (lab - lab.mean(axis=(0, 1))) * gain + other.mean(axis=(0, 1))
    whole = np.trunc(moved).astype(np.int64)
    cast = (whole % 256 if wrap else whole.clip(0, 255)).astype(np.uint8)
    return cv2.cvtColor(cast, cv2.COLOR_LAB2RGB)


def donor_chooser(row: ColourExchange, domains: Sequence[str]) -> Donor:
    """Return the function of (position of a pair, seed) that gives the position of its donor.

    Only the pool is drawn; within it the donor is the pair at position modulo the size of the pool, as in the official
    code. The pools are the domains of the manifest, where the official code goes by file names.

    Raises: UserError for a pool whose domain no pair has.
    """
    pools = {name: [i for i, domain in enumerate(domains) if name in (domain, ALL)] for name in row.pools}
    empty = sorted(name for name, members in pools.items() if not members)
    if empty:
        there = ", ".join(sorted({repr(domain) for domain in domains}))
        raise UserError(
            f"colour_exchange: no training pair is of the domain {', '.join(empty)}",
            [f"the domains of the training pairs are {there}", "name those in colour_exchange.pools, or * for all"],
        )
    names, shares = list(row.pools), np.cumsum([row.pools[name] for name in row.pools])

    def choose(position: int, seed: int) -> int:
        drawn = np.random.default_rng(seed).random()
        pool = pools[names[min(int(np.searchsorted(shares, drawn, side="right")), len(names) - 1)]]
        return pool[position % len(pool)]

    return choose
