"""Groups of pairs that must stay in one split: hints at them in the ids, and dealing them into folds."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

Member = TypeVar("Member")

# From the whole to its parts: patient01-3, p01_s2_003; case-3-12, video 2_0001; scan7_left-004.
PATTERNS = (
    r"^([A-Za-z]*\d[A-Za-z0-9]*)[-_ .]",
    r"^([A-Za-z]+[-_ .]?\d+[A-Za-z]?)[-_ .]",
    r"^(.*\d.*)[-_ .][A-Za-z]*\d+$",
)
SHARED = 0.5  # share of the ids that another one shares its prefix with: a few alike names say nothing


def hinted_pattern(ids: Sequence[str]) -> str:
    """Return the regular expression of a prefix that ids share as images of one patient do, or nothing.

    Every id has such a prefix, there are several, each with a digit, and most of them belong to several ids.
    """
    for pattern in PATTERNS:
        groups = groups_of(ids, pattern)
        counts = Counter(groups)
        if "" not in counts and len(counts) > 1 and sum(counts[one] > 1 for one in groups) >= SHARED * len(ids):
            return pattern
    return ""


def groups_of(ids: Iterable[str], pattern: str) -> list[str]:
    """Return what the pattern's first bracket, or all of it, finds in each id; empty where it finds nothing."""
    matches = [re.search(pattern, name) for name in ids]
    return [((match[1] if match.re.groups else match[0]) or "") if match else "" for match in matches]


def torn_groups(groups_by_split: dict[str, list[str]]) -> list[str]:
    """Return the groups that lie in two splits, sorted; an empty name is none."""
    homes: dict[str, set[str]] = {}
    for split, groups in groups_by_split.items():
        for group in filter(None, groups):
            homes.setdefault(group, set()).add(split)
    return sorted(group for group, splits in homes.items() if len(splits) > 1)


def deal(groups: Iterable[list[Member]], count: int) -> list[list[Member]]:
    """Return `count` folds: the largest groups are dealt first, each to the fold that is smallest by then.

    Among equals the order of the groups decides.
    """
    folds: list[list[Member]] = [[] for _ in range(count)]
    for members in sorted(groups, key=len, reverse=True):
        min(folds, key=len).extend(members)
    return folds
