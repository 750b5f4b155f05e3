"""Splits that the data itself declares: nothing of them is left out or mixed without a word."""

from collections import Counter
from collections.abc import Iterable, Set
from pathlib import Path

from data.layouts.layouts import find
from data.pairs.errors import UserError
from data.prepare.config import FolderDataset
from data.readers.sources import Found, Source

HELD_OUT = frozenset(("val", "test"))


def _told(sources: Iterable[Source]) -> str:
    counts = Counter(source.split for source in sources)
    return ", ".join(f"{count} of {split or 'no split'}" for split, count in sorted(counts.items()))


def untaken(row: FolderDataset, whole: Found | None, taken: Set[Path]) -> list[str]:
    """Return a line on the pairs of the folder that no split of the row asks for."""
    if whole is None:
        try:
            whole = find(Path(row.path), row.layout, row.which())
        except UserError:  # pairs are in the folders of the splits alone
            return []
    left = [source for source in whole.sources if source.image not in taken]
    return [f"{row.path}: {len(left)} pairs are in no split of the row: {_told(left)}"] if left else []


def mixed(row: FolderDataset, found: Found) -> list[str]:
    """Return a line where shares mix what the data itself keeps apart."""
    sides = {source.split for source in found.sources}
    if len(sides) < 2 or not HELD_OUT & sides:
        return []
    what_to_do = "name these in `splits` to keep them apart"
    return [f"{row.path}: splits by share mix its own splits ({_told(found.sources)}): {what_to_do}"]


def unclear_splits(found: Found) -> str:
    """Return what is unclear where some pairs have a split and some have none, which no row can tell apart."""
    sides = {source.split for source in found.sources}
    if "" not in sides or not HELD_OUT & sides:
        return ""
    what_to_do = "put those of no split into train or another one; shares such as {train: 0.8, test: 0.2} would mix all"
    return f"only some pairs are of a split ({_told(found.sources)}): {what_to_do}"
