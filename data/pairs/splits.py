"""Which pair of a folder belongs to which split: by name, slice, list of ids, seeded shares, or folds."""

import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.config import FolderDataset, Folds
from data.pairs.groups import deal
from data.pairs.layouts import find
from data.pairs.seeds import item_seed
from data.pairs.sequences import with_sequences
from data.pairs.sources import Found, Source

Splits = dict[str, list[Source]]
SLICE = re.compile(r"(.*)\[(\d*):(\d*)\]")


def _shuffled(sources: list[Source], *parts: int | str) -> list[Source]:
    return [sources[i] for i in np.random.default_rng(item_seed(*parts)).permutation(len(sources))]


def _by_pattern(sources: list[Source], pattern: str) -> list[Source]:
    """Return the sources with the group that the pattern finds in their ids: its first bracket, or all it matches."""
    matches = [re.search(pattern, source.id) for source in sources]
    return [
        replace(source, group=(m[1] if m.re.groups else m[0]) if m else source.id)
        for source, m in zip(sources, matches, strict=True)
    ]


def _by_table(sources: list[Source], path: Path, problems: list[str]) -> list[Source]:
    """Return the sources with the group that a CSV file of id,group gives them, with or without a picture's ending."""
    if not path.is_file():
        problems.append(f"{path}: no such file, though `group` names it")
        return sources
    with path.open(newline="", encoding="utf-8") as file:
        group_of = {Path(line[0].strip()).stem: line[1].strip() for line in csv.reader(file) if len(line) >= 2}
    problems += [f"{path}: names no group for {s.id}" for s in sources if s.id not in group_of]
    return [replace(source, group=group_of.get(source.id, "")) for source in sources]


def _grouped(sources: list[Source], row: FolderDataset, problems: list[str]) -> list[Source]:
    if row.sequence_likeness is not None:
        return with_sequences(sources, row.sequence_likeness)
    if row.group is None:
        return sources
    if row.group.endswith(".csv"):
        return _by_table(sources, Path(row.path) / row.group, problems)
    return _by_pattern(sources, row.group)


def _groups(pool: list[Source]) -> list[list[Source]]:
    """Return the members of every group, in the order in which a first member appears."""
    groups: dict[str, list[Source]] = {}
    for number, source in enumerate(pool):
        groups.setdefault(source.group or f"\0{number}", []).append(source)
    return list(groups.values())


def _by_share(pool: list[Source], row: FolderDataset) -> Splits:
    """Return the shuffled pool cut at the shares. A group goes where its first pair falls."""
    pool = _shuffled(pool, "split", row.seed)
    ends = np.round(np.cumsum([float(share) for share in row.splits.values()]) * len(pool)).astype(int)
    splits: Splits = {split: [] for split in row.splits}
    position = 0
    for members in _groups(pool):
        place = int(np.searchsorted(ends, position, side="right"))
        if place < len(row.splits):
            splits[list(row.splits)[place]] += members
        position += len(members)
    return splits


def _by_fold(pool: list[Source], row: FolderDataset, folds: Folds) -> Splits:
    """Return the splits of one round of cross-validation."""
    splits: Splits = {split: [] for split in row.split_names()}
    for number, members in enumerate(deal(_groups(_shuffled(pool, "folds", row.seed)), folds.count)):
        name = "test" if number == folds.test else "val" if number == folds.val else "train"
        splits[name] += members
    return splits


def _by_list(path: Path, sources: list[Source], problems: list[str]) -> list[Source]:
    """Return the sources whose ids stand in a text file, one a line, with or without the ending of a picture."""
    if not path.is_file():
        problems.append(f"{path}: no such list of ids, though `splits` names it")
        return []
    by_id = {source.id: source for source in sources}
    wanted = [Path(line.strip()).stem for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    problems += [f"{path}: names {name}, which is no pair of the folder" for name in wanted if name not in by_id]
    return [by_id[name] for name in wanted if name in by_id]


def _by_name(row: FolderDataset, problems: list[str]) -> Splits:
    root = Path(row.path)
    splits: Splits = {}
    seen: dict[Path, Found] = {}

    def found_in(place: Path) -> Found:
        if place not in seen:
            seen[place] = find(place, row.layout)
            problems.extend(seen[place].unmatched)
        return seen[place]

    for split, value in row.splits.items():
        sliced = SLICE.fullmatch(str(value))
        name = sliced[1] if sliced else str(value)
        if (root / name).is_dir():
            pairs = list(found_in(root / name).sources)
        elif name.endswith(".txt"):
            pairs = _by_list(root / name, list(found_in(root).sources), problems)
        else:
            whole = found_in(root)
            pairs = [source for source in whole.sources if source.split == name]
            if not pairs:
                known = sorted({source.split for source in whole.sources})
                problems.append(f"split {split}: {name} is no sub-folder, and layout {whole.layout} has {known}")
        splits[split] = pairs[slice(*(int(end) if end else None for end in sliced.groups()[1:]))] if sliced else pairs
    return splits


def _groups_in_two_splits(splits: Splits) -> list[str]:
    homes: dict[str, str] = {}
    problems = []
    for split, sources in splits.items():
        for group in sorted({source.group for source in sources}):
            if homes.setdefault(group, split) != split:
                problems.append(f"group {group} is in both {homes[group]} and {split}")
    return problems


def split_sources(row: FolderDataset, problems: list[str]) -> Splits:
    """Return split -> pairs, cut to the row's limits; whatever is wrong is appended to `problems`."""
    if row.folds is None and all(isinstance(value, str) for value in row.splits.values()):
        splits = {split: _grouped(pairs, row, problems) for split, pairs in _by_name(row, problems).items()}
        if row.group:
            problems += _groups_in_two_splits(splits)
    else:
        found = find(Path(row.path), row.layout)
        problems += found.unmatched
        counts = Counter(source.id for source in found.sources)
        pool = [replace(s, id=f"{s.split}-{s.id}") if counts[s.id] > 1 else s for s in found.sources]
        pool = _grouped(pool, row, problems)
        splits = _by_fold(pool, row, row.folds) if row.folds else _by_share(pool, row)
    for split, sources in splits.items():
        shared = sorted(name for name, count in Counter(source.id for source in sources).items() if count > 1)
        problems += [f"split {split}: the id {name} stands for several pairs; rename their files" for name in shared]
    for split, count in row.expect.items():
        if len(splits[split]) != count:
            problems.append(f"split {split}: {len(splits[split])} pairs found, {count} expected")
    for split, most in row.limit.items():
        splits[split] = _shuffled(splits[split], "limit", row.seed, split)[:most]
    problems += [f"split {split}: no pairs are left for it" for split, pairs in splits.items() if not pairs]
    return splits
