"""Dealing groups of pairs into folds."""

from collections.abc import Iterable
from typing import TypeVar

Member = TypeVar("Member")


def deal(groups: Iterable[list[Member]], count: int) -> list[list[Member]]:
    """Return `count` folds: the largest groups are dealt first, each to the fold that is smallest by then.

    Among equals the order of the groups decides.
    """
    folds: list[list[Member]] = [[] for _ in range(count)]
    for members in sorted(groups, key=len, reverse=True):
        min(folds, key=len).extend(members)
    return folds
