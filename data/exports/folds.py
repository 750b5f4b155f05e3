"""Folds of the real pairs, where no synthetic pair of a validation pair is trained on."""

from collections.abc import Iterable, Sequence

from data.exports.bundle import TRAIN, VAL, Bundle, Item
from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from data.prepare.grouping import deal

Fold = tuple[list[Item], list[Item]]  # train, val


def _group(item: Item) -> str:
    """Return what must stay together with a real pair; a group is never taken for an id."""
    return f"group {item.pair.group}" if item.pair.group else f"pair {item.id}"


def _fold(items: Sequence[Item], val: Iterable[Item]) -> Fold:
    """Return the fold with these val pairs: train is the other real pairs, and what was made from none of val's."""
    held = {item.id for item in val}
    real = {item.id: item for item in items if not item.parent}
    held_groups = {_group(real[name]) for name in held}
    train = [item for item in real.values() if item.id not in held]
    for item in items:
        origins = [real[name] for name in (item.parent, item.donor) if name]
        if origins and not held_groups & {_group(origin) for origin in origins}:
            train.append(item)
    return train, [real[name] for name in sorted(held)]


def folds(bundle: Bundle, count: int, seed: int) -> list[Fold]:
    """Return the folds: the bundle's own val split as the only one, or `count` over the real training pairs by group.

    The largest groups are dealt first, each to the smallest fold; among equals the seed decides.

    Raises: UserError when there are fewer than two folds, or fewer groups than folds.
    """
    items = [*bundle.splits[TRAIN], *bundle.splits.get(VAL, ())]
    if VAL in bundle.splits:
        return [_fold(items, bundle.splits[VAL])]
    groups: dict[str, list[Item]] = {}
    for item in items:
        if not item.parent:
            groups.setdefault(_group(item), []).append(item)
    if not 2 <= count <= len(groups):
        raise UserError(f"folds: {count} must be 2 to {len(groups)}, as many as real training pairs or groups of them")
    order = sorted(groups, key=lambda name: item_seed("folds", seed, name))
    return [_fold(items, val) for val in deal((groups[name] for name in order), count)]
