"""What belongs together and must stay in one split: as a row says it, as ids hint at it, and dealt into folds."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from data.pairs.tables import cells_of
from data.readers.sources import Source, is_picture, read_lines

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


def torn_groups(groups_by_split: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the groups that lie in several splits, sorted, each with these splits; an empty name is none."""
    homes: dict[str, list[str]] = {}
    for split, groups in groups_by_split.items():
        for group in {*groups} - {""}:
            homes.setdefault(group, []).append(split)
    return {group: splits for group, splits in sorted(homes.items()) if len(splits) > 1}


def group_hint(splits: Mapping[str, Sequence[Source]]) -> tuple[str, list[str], list[str]]:
    """Return the pattern of prefixes that ids share, these, and those in two splits; nothing where groups are known."""
    sources = [source for members in splits.values() for source in members]
    pattern = "" if any(source.group for source in sources) else hinted_pattern([source.id for source in sources])
    groups = {split: groups_of([source.id for source in members], pattern) for split, members in splits.items()}
    return pattern, sorted(set().union(*groups.values())), [*torn_groups(groups)]


def deal(groups: Iterable[list[Member]], count: int) -> list[list[Member]]:
    """Return `count` folds: the largest groups are dealt first, each to the fold that is smallest by then.

    Among equals the order of the groups decides.
    """
    folds: list[list[Member]] = [[] for _ in range(count)]
    for members in sorted(groups, key=len, reverse=True):
        min(folds, key=len).extend(members)
    return folds


def by_pattern(sources: list[Source], pattern: str, problems: list[str]) -> list[Source]:
    """Return the sources with the group that the pattern finds in their ids: its first bracket, or all it matches.

    Where it does not find one in every id, the names that the files themselves have are taken, if it does there.
    """
    groups = groups_of([source.id for source in sources], pattern)
    if not all(groups):
        own = groups_of([source.own_name for source in sources], pattern)
        groups = own if all(own) else groups
    missed = [source.id for source, group in zip(sources, groups, strict=True) if not group]
    if missed:
        shown = ", ".join(missed[:3])
        problems.append(f"group: {pattern} finds nothing in {len(missed)} of {len(sources)} ids, such as {shown}")
    return [replace(source, group=group) for source, group in zip(sources, groups, strict=True)]


def by_table(sources: list[Source], root: Path, table: Path, problems: list[str]) -> list[Source]:
    """Return the sources with the group that a CSV file of id,group gives them.

    An id is the manifest's, the image's path in the folder, or its name, with or without a picture's ending.
    """
    lines = read_lines(table, "group", problems)
    if not lines or not sources:
        return sources
    group_of: dict[str, str] = {}
    for _, cells in cells_of(table, "\n".join(lines)):
        if len(cells) >= 2 and cells[1].strip():
            name, group = plain_path(cells[0]), cells[1].strip()
            if group_of.setdefault(name, group) != group:
                problems.append(f"{table}: names two groups for {name}, {group_of[name]} and {group}")
    groups = [next((group_of[name] for name in names_of(one, root) if name in group_of), "") for one in sources]
    missed = [source.id for source, group in zip(sources, groups, strict=True) if not group]
    if len(missed) == len(sources):
        problems.append(f"{table}: names none of the ids; a line is id,group with a comma, such as {missed[0]},p1")
    else:
        problems += [f"{table}: names no group for {name}" for name in missed]
    return [replace(source, group=group) for source, group in zip(sources, groups, strict=True)]


def plain_path(name: str) -> str:
    """Return a path of a list with slashes and without the ending of a picture; an id may have dots of its own."""
    path = name.strip().replace("\\", "/").removeprefix("./")
    return path[: -len(Path(path).suffix)] if is_picture(Path(path)) else path


def names_of(source: Source, root: Path) -> list[str]:
    """Return what a list may call a pair, the clearest name first: id, path in the folder, name of the file."""
    place = source.image.relative_to(root).as_posix() if source.image.is_relative_to(root) else source.image.name
    named = [source.id, *([plain_path(place), plain_path(source.image.name)] if not source.reader else [])]
    return [*named, source.own_name]
