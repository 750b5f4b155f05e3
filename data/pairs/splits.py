"""Which pair of a folder belongs to which split: by sub-folder, by the layout, by lists of ids, or by seeded shares."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.config import FolderDataset
from data.pairs.layouts import find
from data.pairs.seeds import item_seed
from data.pairs.sources import Source

Splits = dict[str, list[Source]]


def _shuffled(sources: list[Source], *parts: int | str) -> list[Source]:
    return [sources[i] for i in np.random.default_rng(item_seed(*parts)).permutation(len(sources))]


def _grouped(sources: list[Source], pattern: str | None) -> list[Source]:
    """Return the sources with the group that the pattern finds in their ids: its first bracket, or all it matches."""
    if pattern is None:
        return sources
    matches = [re.search(pattern, source.id) for source in sources]
    return [
        replace(source, group=(m[1] if m.re.groups else m[0]) if m else source.id)
        for source, m in zip(sources, matches, strict=True)
    ]


def _by_share(pool: list[Source], row: FolderDataset) -> Splits:
    """Return the shuffled pool cut at the shares. A group goes where its first pair falls."""
    pool = _shuffled(pool, "split", row.seed)
    ends = np.round(np.cumsum([float(share) for share in row.splits.values()]) * len(pool)).astype(int)
    groups: dict[str, list[Source]] = {}
    for number, source in enumerate(pool):
        groups.setdefault(source.group or f"\0{number}", []).append(source)
    splits: Splits = {split: [] for split in row.splits}
    position = 0
    for members in groups.values():
        place = int(np.searchsorted(ends, position, side="right"))
        if place < len(row.splits):
            splits[list(row.splits)[place]] += members
        position += len(members)
    return splits


def _by_list(path: Path, sources: list[Source], problems: list[str]) -> list[Source]:
    """Return the sources whose ids stand in a text file, one a line, with or without the ending of a picture."""
    by_id = {source.id: source for source in sources}
    wanted = [Path(line.strip()).stem for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    problems += [f"{path}: names {name}, which is no pair of the folder" for name in wanted if name not in by_id]
    return [by_id[name] for name in wanted if name in by_id]


def _by_name(row: FolderDataset, problems: list[str]) -> Splits:
    root = Path(row.path)
    splits: Splits = {}
    whole = None
    for split, value in row.splits.items():
        if (root / str(value)).is_dir():
            found = find(root / str(value), row.layout)
            problems += found.unmatched
            splits[split] = list(found.sources)
            continue
        if whole is None:
            whole = find(root, row.layout)
            problems += whole.unmatched
        if str(value).endswith(".txt"):
            splits[split] = _by_list(root / str(value), list(whole.sources), problems)
        else:
            splits[split] = [source for source in whole.sources if source.split == value]
            if not splits[split]:
                known = sorted({source.split for source in whole.sources})
                problems.append(f"split {split}: {value} is no sub-folder, and layout {whole.layout} has {known}")
    return splits


def split_sources(row: FolderDataset, problems: list[str]) -> Splits:
    """Return split -> pairs, cut to the row's limits; whatever is wrong is appended to `problems`."""
    if all(isinstance(value, str) for value in row.splits.values()):
        splits = _by_name(row, problems)
        splits = {split: _grouped(sources, row.group) for split, sources in splits.items()}
        homes: dict[str, str] = {}
        for split, sources in splits.items() if row.group else ():
            for group in sorted({source.group for source in sources}):
                if homes.setdefault(group, split) != split:
                    problems.append(f"group {group} is in both {homes[group]} and {split}")
    else:
        found = find(Path(row.path), row.layout)
        problems += found.unmatched
        counts = Counter(source.id for source in found.sources)
        pool = [replace(s, id=f"{s.split}-{s.id}") if counts[s.id] > 1 else s for s in found.sources]
        splits = _by_share(_grouped(pool, row.group), row)
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
