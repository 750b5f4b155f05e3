"""Which pair of a folder belongs to which split: by name, slice, list of ids, seeded shares, or folds."""

import re
from collections import Counter
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from data.layouts.folders import unique_ids
from data.layouts.layouts import find
from data.pairs.errors import UserError
from data.pairs.prepared import TRAIN
from data.pairs.seeds import item_seed
from data.prepare.config import FolderDataset, Folds
from data.prepare.grouping import by_pattern, by_table, deal, group_hint, names_of, plain_path, torn_groups
from data.prepare.likeness import with_sequences
from data.prepare.own_splits import mixed, untaken
from data.readers.sources import Found, Source, outside_notes, read_lines

Splits = dict[str, list[Source]]
SLICE = re.compile(r"(.*)\[(\d*):(\d*)\]")


def _shuffled(sources: list[Source], *parts: int | str) -> list[Source]:
    return [sources[i] for i in np.random.default_rng(item_seed(*parts)).permutation(len(sources))]


def _grouped(splits: Splits, row: FolderDataset, problems: list[str]) -> Splits:
    sources = [source for members in splits.values() for source in members]
    if row.sequence_likeness is not None:
        sources = with_sequences(sources, row.sequence_likeness)
    elif row.group and row.group.endswith(".csv"):
        sources = by_table(sources, Path(row.path), Path(row.path) / row.group, problems)
    elif row.group:
        sources = by_pattern(sources, row.group, problems)
    left = iter(sources)
    return {split: list(islice(left, len(members))) for split, members in splits.items()}


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
    splits: Splits = {split: [] for split in row.split_names()}
    for number, members in enumerate(deal(_groups(_shuffled(pool, "folds", row.seed)), folds.count)):
        name = "test" if number == folds.test else "val" if number == folds.val else "train"
        splits[name] += members
    return splits


def _by_list(path: Path, root: Path, sources: list[Source], problems: list[str]) -> list[Source]:
    """Return the sources whose ids, or paths in `root`, stand in a text file, with or without a picture's ending."""
    by_name: dict[str, list[Source]] = {}
    for source in sources:
        for name in {*names_of(source, root)}:
            by_name.setdefault(name, []).append(source)
    chosen = []
    for line in read_lines(path, "splits", problems):
        name = line.strip() if line.strip() in by_name else plain_path(line)
        found = by_name.get(name, [])
        if len(found) == 1:
            chosen.append(found[0])
        elif found:
            problems.append(f"{path}: names {name}, which stands for several: {', '.join(s.id for s in found)}")
        else:
            problems.append(f"{path}: names {name}, which is no pair of the folder")
    return chosen


def _found(place: Path, row: FolderDataset, problems: list[str], unused: list[str]) -> Found:
    found = find(place, row.layout, row.which())
    problems += found.unmatched
    unused += [line for _, line in found.unused]
    return found


def _by_name(row: FolderDataset, problems: list[str], unused: list[str]) -> tuple[Splits, list[Source]]:
    """Return the splits, and what a slice leaves of train and no other split takes."""
    root = Path(row.path)
    splits: Splits = {}
    left: list[Source] = []

    wanted: set[Path] = set()
    wholes: list[Found] = []

    @cache
    def found_in(place: Path) -> Found:
        found = _found(place, row, problems, unused)
        wholes.extend([found] if place == root else [])
        return found

    for split, value in row.splits.items():
        sliced = SLICE.fullmatch(str(value))
        name = sliced[1] if sliced else str(value)
        if (root / name).is_dir() and any(row.which()):  # patterns and tables are of the whole
            pairs = [source for source in found_in(root).sources if source.image.is_relative_to(root / name)]
            pairs = pairs or [source for source in found_in(root).sources if source.split == name]
            if not pairs:
                problems.append(f"split {split}: no pair of images and masks lies in {root / name}")
        elif (root / name).is_dir():
            try:
                pairs = list(found_in(root / name).sources)
            except UserError:  # a folder of images alone, as train beside train_masks
                pairs = [source for source in found_in(root).sources if source.split == name]
                if not pairs:
                    raise
        elif name.endswith(".txt"):
            pairs = _by_list(root / name, root, list(found_in(root).sources), problems)
        else:
            whole = found_in(root)
            pairs = [source for source in whole.sources if source.split == name]
            if not pairs:
                known = sorted({source.split for source in whole.sources})
                problems.append(f"split {split}: {name} is no sub-folder, and layout {whole.layout} has {known}")
        wanted |= {source.image for source in pairs}
        splits[split] = pairs[slice(*(int(end) if end else None for end in sliced.groups()[1:]))] if sliced else pairs
        left += pairs if split == TRAIN and sliced else []
    unused[:0] = untaken(row, next(iter(wholes), None), wanted)
    taken = {(source.image, source.id) for members in splits.values() for source in members}
    return splits, [source for source in left if (source.image, source.id) not in taken]


def torn_hints(splits: Splits) -> str:
    """Return a sentence on ids that share a prefix and lie in two splits, where nobody spoke of groups, or nothing."""
    pattern, _, torn = group_hint(splits)
    if not torn:
        return ""
    return (
        f"{len(torn)} prefixes of ids lie in two splits, such as {', '.join(torn[:3])}: if each is a patient or video, "
        f"set group: {pattern!r} in the row"
    )


def split_sources(
    row: FolderDataset, problems: list[str], unused: list[str] | None = None, rest: list[Source] | None = None
) -> Splits:
    """Return split -> pairs, cut to the row's limits.

    Whatever is wrong is appended to `problems`, files that are not read but do no harm to `unused`, and what limits and
    slices leave of the training pairs to `rest`.
    """
    unused = [] if unused is None else unused
    shared = row.folds is not None or not all(isinstance(value, str) for value in row.splits.values())
    if not shared:
        named, left = _by_name(row, problems, unused)
        splits = _grouped({**named, "": [] if rest is None else left}, row, problems)
        left = splits.pop("")
        torn = torn_groups({split: [source.group for source in members] for split, members in splits.items()})
        problems += [
            f"group {name} is in both {first} and {two}" for name, (first, *more) in torn.items() for two in more
        ]
    else:
        found = _found(Path(row.path), row, problems, unused)
        unused[:0] = mixed(row, found)
        pool = _grouped({"": unique_ids(list(found.sources))}, row, problems)[""]
        splits = _by_fold(pool, row, row.folds) if row.folds else _by_share(pool, row)
        left = []
    every = [source for members in splits.values() for source in members]
    unused[:0] = outside_notes(every, Path(row.path))
    for split, members in splits.items():
        counts = Counter(source.id for source in members)
        often = sorted(name for name, count in counts.items() if count > 1)
        problems += [f"split {split}: the id {name} stands for several pairs; rename their files" for name in often]
    for split, count in row.expect.items():
        if len(splits[split]) != count:
            problems.append(f"split {split}: {len(splits[split])} pairs found, {count} expected")
    for split, most in row.limit.items():
        shuffled = _shuffled(splits[split], "limit", row.seed, split)
        splits[split] = shuffled[:most]
        left += shuffled[most:] if split == TRAIN else []
    if rest is not None:
        rest += left
    for split in (split for split, pairs in splits.items() if not pairs):
        count = sum(map(len, splits.values()))
        why = f": its share of {count} pair{'s' if count != 1 else ''} is too small" if shared else ""
        grouped = ", or groups are too large to be parted" if shared and (row.folds or row.group) else ""
        groups = {source.group for source in every}
        if shared and "" not in groups and len(groups) < len(splits):
            grouped = (
                f": all are of {len(groups)} patient, volume or other group; where files are of different ones, set "
                'group in the row, such as group: "(.*)"'
            )
        problems.append(f"split {split}: no pairs are left for it{why}{grouped}")
    return splits
