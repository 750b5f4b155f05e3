"""What goes into an export: real splits, and added pairs that are for training only, under ids unique over all."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from data.pairs.errors import UserError
from data.pairs.files import copy_file, write_text
from data.pairs.image_io import levels, png_text
from data.pairs.manifest import Pair, PairSet, class_names
from data.pairs.prepared import TRAIN, VAL

REAL = "real"  # source of a pair of a real split

PARENTS = """\
Synthetic pairs are in train only. The mask of each comes from a real training pair, its parent; a donor is a second
one, whose lesion it shows. Keep them on one side when you split train further."""
NO_PARENT = """\
{count} pairs name no parent: somebody gave or drew their masks, or they were made with the images. None is the mask of
a pair of another split here; nothing says which real training pairs they are like."""
NEAR_COPIES = """\
{count} added images say of themselves that they are near copies of real images, or these images with masks of a
segmenter: treat them as the real images, under their terms and with their privacy."""
TERMS = """\
The terms of the real data set apply to all of this, the synthetic pairs too: their generator learned from it.
For research on training segmenters: not for test sets, not for estimates of how common something is, not for clinical
use.
"""


@dataclass(frozen=True)
class Item:
    """One pair of an export."""

    id: str  # unique over all splits; letters, digits, "-" and "_" only
    pair: Pair
    pair_set: PairSet
    synthetic: bool  # its image was made by a generator
    parent: str = ""  # export id of the real pair that the mask comes from; empty for real pairs, and without one
    donor: str = ""  # export id of the real pair whose lesion took the place of the parent's

    @property
    def real(self) -> bool:
        """Whether it is of a real split, and not added."""
        return self.pair.source == REAL


@dataclass(frozen=True)
class Bundle:
    """All pairs of an export by split, train first; within a split the real ones first."""

    classes: tuple[str, ...]  # names of the labels 1, 2, ...
    splits: Mapping[str, tuple[Item, ...]]

    @cached_property
    def near_copies(self) -> int:
        """How many added images say in their text that they are near copies of real ones."""
        added = (item for items in self.splits.values() for item in items if item.synthetic)
        return sum("near-copy" in png_text(item.pair_set.folder / item.pair.image) for item in added)


def safe_names(names: Sequence[str]) -> list[str]:
    """Return the names made of letters, digits, "-" and "_" only, and unique even where case does not count."""
    safe: dict[str, str] = {}  # by itself in small letters
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", name)
        numbered = chain([stem], (f"{stem}-{number}" for number in count(2)))
        free = next(text for text in numbered if text.lower() not in safe)
        safe[free.lower()] = free
    return list(safe.values())


def facts(item: Item) -> dict[str, str | bool | float]:
    """Return what an export says of a pair beside its files."""
    pair = item.pair
    return {
        "id": item.id, "source": pair.source, "synthetic": item.synthetic, "parent": item.parent, "donor": item.donor,
        "group": pair.group, "domain": pair.domain, "seed": pair.seed, "foreground": float(pair.foreground),
    }  # fmt: skip


def copy_pair(item: Item, folder: Path, image: str, mask: str = "") -> None:
    """Copy the image, and the mask where a path is given, byte by byte: provenance in a synthetic image stays."""
    copy_file(item.pair_set.folder / item.pair.image, folder / image)
    if mask:
        copy_file(item.pair_set.folder / item.pair.mask, folder / mask)


def _set_problems(name: str, pair_set: PairSet, classes: str) -> Iterator[str]:
    yield from (f"{name}/{pair.id}: has no image, only a mask" for pair in pair_set.pairs if not pair.image)
    others = sorted({pair.classes for pair in pair_set.pairs} - {classes})
    yield from (f"{name}: its classes are {other}, those of train are {classes}" for other in others)


def _problems(real: Mapping[str, PairSet], added: Sequence[PairSet]) -> Iterator[str]:
    """Yield a line for everything that keeps the sets from being exported together."""
    train = real[TRAIN].pairs if TRAIN in real else ()
    if not train:
        yield f"there is no real training pair: the splits are {sorted(real)}"
    every = [pair for pair_set in (*real.values(), *added) for pair in pair_set.pairs]
    classes = next((pair.classes for pair in (*train, *every)), "")
    for split, pair_set in real.items():
        made = [pair for pair in pair_set.pairs if pair.source != REAL]
        yield from (f"{split}/{pair.id}: is no real pair, its source is {pair.source}" for pair in made)
        yield from _set_problems(split, pair_set, classes)
    known = {pair.id for pair in train}
    seen: dict[tuple[str, str, str], int] = {}
    for number, pair_set in enumerate(added):
        for pair in pair_set.pairs:
            name = f"{pair_set.folder}/{pair.id}"
            if pair.source == REAL:
                yield f"{name}: says that it is real, so it belongs to a split of the real pairs"
            for role, parent in (("parent", pair.parent), ("donor", pair.donor)):
                if parent and parent not in known:
                    yield f"{name}: its {role} '{parent}' is no real training pair, its mask may be of a test pair"
            first = seen.setdefault((pair.source, pair.id, pair.image_sha256 or name), number)
            if first != number:
                yield f"{name}: is in {added[first].folder} too: name the largest multiple only, it holds the others"
        yield from _set_problems(str(pair_set.folder), pair_set, classes)


def collect(real: Mapping[str, PairSet], added: Sequence[PairSet]) -> Bundle:
    """Return the real splits with the added pairs at the end of train. Splits without pairs are left out.

    Ids that stand for several pairs get the name of their split, or of their source where they are added.

    Raises: UserError that names at once: no real training pair, a pair in a real split that is not real, an added pair
    whose parent is no real training pair, a pair without an image, other classes than those of train, and the same pair
    in two added sets.
    """
    problems = list(_problems(real, added))
    if problems:
        raise UserError(f"these pairs cannot be exported together: {len(problems)} problems", problems)
    order = sorted(real, key=lambda split: (split != TRAIN, split != VAL, split))
    rows = [(split, pair, real[split]) for split in order for pair in real[split].pairs]
    rows += [(TRAIN, pair, pair_set) for pair_set in added for pair in pair_set.pairs]
    counts = Counter(pair.id for _, pair, _ in rows)
    ids = safe_names(
        [
            pair.id if counts[pair.id] == 1 else f"{split if pair.source == 'real' else pair.source}-{pair.id}"
            for split, pair, _ in rows
        ]
    )
    exported = {pair.id: name for name, (_, pair, _) in zip(ids, rows[: len(real[TRAIN])], strict=False)}
    splits: dict[str, list[Item]] = {}
    for name, (split, pair, pair_set) in zip(ids, rows, strict=True):
        origins = ("", "") if pair.source == REAL else (exported.get(pair.parent, ""), exported.get(pair.donor, ""))
        synthetic = pair.source not in (REAL, "duplicate")
        splits.setdefault(split, []).append(Item(name, pair, pair_set, synthetic, *origins))
    return Bundle(class_names(rows[0][1]), {split: tuple(items) for split, items in splits.items()})


def mask_values(bundle: Bundle) -> str:
    """Return one line that says which grey of a copied mask is which class."""
    greys = levels(len(bundle.classes))[1:].tolist()
    named = ", ".join(f"{grey} {name}" for grey, name in zip(greys, bundle.classes, strict=True))
    return f"Masks are 8-bit grey PNG: 0 background, {named}."


def write_readme(path: Path, bundle: Bundle, title: str, how: str, header: str = "") -> None:
    """Write what the export is, how it is read, its counts by split and source, and the terms."""
    counts = {split: Counter(item.pair.source for item in items) for split, items in bundle.splits.items()}
    sources = sorted({source for by_source in counts.values() for source in by_source}, key=lambda s: (s != REAL, s))
    table = [f"| split | {' | '.join(sources)} |", f"| --- |{' --- |' * len(sources)}"]
    table += [f"| {split} | {' | '.join(str(n[source]) for source in sources)} |" for split, n in counts.items()]
    made = sum(item.synthetic for items in bundle.splits.values() for item in items)
    total = f"{sum(map(Counter.total, counts.values()))} pairs, {made} of them synthetic; by source:"
    orphans = sum(not (item.real or item.parent) for items in bundle.splits.values() for item in items)
    origins = [PARENTS, *([NO_PARENT.format(count=orphans)] if orphans else [])]
    origins += [NEAR_COPIES.format(count=bundle.near_copies)] if bundle.near_copies else []
    parts = [f"# {title}", how.strip("\n"), total, "\n".join(table), *origins, TERMS]
    write_text(path, header + "\n\n".join(parts))
