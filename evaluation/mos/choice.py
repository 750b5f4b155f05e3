"""Which images go into a deck for raters: the same masks of every set, and real controls that have no part in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet
from data.pairs.seeds import item_seed

REAL = "real"  # the set of the controls; synthetic sets are <generator>-<masks>
RATED, PRACTICE = "images", "practice"  # what an image is for, and the folders of a deck


class Options(NamedTuple):
    """What the user chooses: images of each set and as many real controls, images to practise on, raters to find."""

    images: int = 50
    practice: int = 4
    raters: int = 3
    seed: int = 0


class Pick(NamedTuple):
    """A pair that goes into the deck."""

    use: str
    set: str
    pair: Pair
    pairs: PairSet


def _origin(pair: Pair) -> str:
    """Return the real pair that a mask comes from, or the mask itself where that is not known."""
    return pair.parent or pair.id


def pick_synthetic(sets: Mapping[str, PairSet], options: Options) -> list[Pick]:
    """Return up to `images` pairs of each set, from the same masks wherever the sets share them, and half the practice.

    Masks that most sets have come first, in an order drawn from the seed; no mask to practise on is rated.

    Raises: UserError naming each set that is left without an image.
    """
    by_origin: dict[str, dict[str, Pair]] = {name: {} for name in sets}
    for name, pairs in sets.items():
        for pair in pairs.pairs:
            by_origin[name].setdefault(_origin(pair), pair)
    held = Counter(origin for found in by_origin.values() for origin in found)
    order = sorted(held, key=lambda origin: (-held[origin], item_seed(options.seed, "mos mask", origin)))
    kept = max(0, len(order) - options.practice // 2)
    picks = []
    for name, pairs in sets.items():
        mine = [by_origin[name][origin] for origin in order[:kept] if origin in by_origin[name]]
        picks += [Pick(RATED, name, pair, pairs) for pair in mine[: options.images]]
    empty = sorted(set(sets) - {pick.set for pick in picks})
    if empty:
        problems = [f"{sets[name].folder}: {len(sets[name])} pairs" for name in empty]
        raise UserError("these sets have no image to rate: fewer --practice images or other sets are needed", problems)
    for number, origin in enumerate(order[kept:]):
        holders = [name for name in sets if origin in by_origin[name]]
        name = holders[number % len(holders)]
        picks.append(Pick(PRACTICE, name, by_origin[name][origin], sets[name]))
    return picks


def pick_controls(
    held_out: Mapping[str, PairSet], others: Mapping[str, PairSet], synthetic: Sequence[Pick], options: Options
) -> list[Pick]:
    """Return as many real pairs as the largest set has images, and the other half of the practice.

    Pairs of `held_out` come first, then those of `others`, split after split, that have no part in a mask of the deck:
    neither parents or donors nor pairs of the same group.

    Raises: UserError when no real pair is left.
    """
    used = {name for pick in synthetic for name in (_origin(pick.pair), pick.pair.donor) if name}
    groups = {pick.pair.group for pick in synthetic if pick.pair.group}
    groups |= {pair.group for pairs in others.values() for pair in pairs.pairs if pair.id in used and pair.group}
    tiers = [(0, pairs) for pairs in held_out.values()] + [*enumerate(others.values(), 1)]
    free = [
        (tier, pair, pairs)
        for tier, pairs in tiers
        for pair in pairs.pairs
        if pair.source == REAL and (tier == 0 or (pair.id not in used and pair.group not in groups))
    ]
    free.sort(key=lambda one: (one[0], item_seed(options.seed, "mos control", one[1].split, one[1].id)))
    practice = options.practice - options.practice // 2
    counts = Counter(pick.set for pick in synthetic if pick.use == RATED)
    free = free[: max(counts.values()) + practice]
    rated = len(free) - practice
    if rated < 1:
        places = [str(pairs.folder) for _, pairs in tiers]
        raise UserError(f"only {len(free)} real images can be controls, {practice} of them for practice", places)
    return [Pick(RATED if n < rated else PRACTICE, REAL, pair, pairs) for n, (_, pair, pairs) in enumerate(free)]
