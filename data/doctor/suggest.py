"""The row of params.yaml that reads a folder: each that may is rehearsed, and none is suggested that reads it wrong."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from data.doctor.look import Seen
from data.layouts.folders import unique_ids
from data.mask_files.checks import MaskFacts, mask_facts, set_problems
from data.mask_files.read import Reading
from data.mask_files.values import void_among
from data.pairs.errors import one_line
from data.pairs.image_io import BadImageError
from data.pairs.manifest import Pair, id_problem
from data.prepare.config import FolderDataset
from data.prepare.grouping import hinted_pattern
from data.prepare.likeness import FRAME_CORRELATION
from data.prepare.own_splits import unclear_splits
from data.prepare.prepare import how_to_read, leaks
from data.prepare.splits import split_sources
from data.readers.config import Which
from data.readers.reading import read_source
from data.readers.sources import Found, Source

FEW_GROUPS = 10
SEEDS = 6  # draws of splits by share that are tried where some masks are empty, so that each split has a lesion


def fitting_row(
    folder: Path, found: Found, seen: list[Seen], codes: set[str], which: Which | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the row that reads the folder, or None where none does, and in sentences what `prepare` would refuse.

    A row is right, too, where single files must be mended first.
    """
    if unclear := unclear_splits(found):
        return None, [unclear]
    base = _splits_and_size(folder, found, seen, codes, which)
    some_empty = len({pair.facts.foreground > 0 for pair in seen if pair.facts}) > 1
    seeds = [{}, *({"seed": seed} for seed in range(1, SEEDS))] if some_empty else [{}]
    first: list[str] = []
    best: tuple[dict[str, Any], list[str]] | None = None
    for keys, seed in product(_ways_to_read(found, seen, codes), seeds):
        whole, files = _rehearse(base | keys | seed, found, seen)
        first = first or [*whole, *files]
        if not whole and (best is None or len(files) < len(best[1])):
            best = base | keys | seed, files
        if best and not best[1]:
            break
    return best or (None, first)


def _splits_and_size(
    folder: Path, found: Found, seen: list[Seen], codes: set[str], which: Which | None
) -> dict[str, Any]:
    sides = sorted({source.split for source in found.sources})
    groups = {source.group for source in found.sources}
    few = len(found.sources) <= 2 or ("" not in groups and len(groups) < FEW_GROUPS)
    splits: dict[str, Any] = {"train": 0.5, "test": 0.5} if few else {"train": 0.8, "test": 0.2}
    if "train" in sides and "" not in sides and len(sides) > 1:
        splits = {side: side for side in ["train", *(s for s in sides if s != "train")]}
    if sides == ["train", "val"]:
        splits = {"train": "train", "test": "val"}
    smallest = min((min(s.size) for s in seen if s.size), default=64)
    size_px = max(32, min(384, smallest // 32 * 32))
    prompt = next((s.prompt for s in found.sources if s.prompt), "a photo of a lesion")
    files = _said(which) if which and any(which) else {"layout": found.layout}
    row: dict[str, Any] = {"kind": "folder", "path": str(folder), **files, "size_px": size_px}
    row |= {"prompt": prompt, "splits": splits}
    if "sequence" in codes:
        return row | {"sequence_likeness": FRAME_CORRELATION}
    by_share = isinstance(splits["train"], float)
    ids = [source.id for source in unique_ids(list(found.sources))]
    grouped = row | {"group": hinted_pattern(ids)}
    return grouped if by_share and "group_hint" in codes and not _split_problems(grouped, found) else row


def _said(which: Which) -> dict[str, Any]:
    """Return what was said of which files are meant as keys of the row."""
    files: dict[str, Any] = {key: value for key, value in which._asdict().items() if value}
    return files | ({"slices": which.slices.model_dump(mode="json")} if which.slices else {})


def _ways_to_read(found: Found, seen: list[Seen], codes: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the keys that may explain the masks, the likeliest first."""
    numbered = all(pair.numbered for pair in seen)
    labels = frozenset().union(*(pair.labels for pair in seen)) if numbered else frozenset()
    if found.classes:
        background = {"as_background": list(found.ignored)} if found.ignored else {}
        yield {"classes": dict(found.classes)} | background
        return
    if {"class_mask", "colour_mask"} & codes and labels and not any(pair.wide_void for pair in seen):
        void = void_among(labels) if "void_mask" in codes else frozenset()
        values = sorted(labels - void, key=str)
        row: dict[str, Any] = {"classes": {f"class-{number}": _plain(v) for number, v in enumerate(values, 1)}}
        yield row | ({"as_background": [_plain(value) for value in sorted(void, key=str)]} if void else {})
    if found.mask_threshold == 0 or ("zero_one_mask" in codes and labels <= {1} and numbered):
        yield {"mask_threshold": 0}
    yield {}
    yield {"mask_threshold": 0}  # some masks of 0 and 1 among others; one grey; numbers of single objects


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _split_problems(row: Mapping[str, Any], found: Found) -> list[str]:
    problems: list[str] = []
    split_sources(FolderDataset.model_validate_json(json.dumps(row)), problems)
    return [line for line in problems if line not in found.unmatched]


def _rehearse(row: Mapping[str, Any], found: Found, seen: list[Seen]) -> tuple[list[str], list[str]]:
    """Return what `prepare` would refuse, of the row and the masks as a whole, and of single files.

    Masks are read anew only where the row reads them otherwise than they were looked at.
    """
    config = FolderDataset.model_validate_json(json.dumps(row))
    reading, problems = how_to_read(config), list[str]()
    splits = split_sources(config, problems)
    whole = [line for line in problems if line not in found.unmatched]
    files = list(found.unmatched)
    looked = {(pair.source.image, pair.source.reader): pair for pair in seen}
    facts: dict[str, list[MaskFacts]] = {split: [] for split in splits}
    able: list[tuple[Pair, np.ndarray]] = []
    unread = []
    for split, source in ((split, source) for split, members in splits.items() for source in members):
        pair = looked[source.image, source.reader]
        if problem := id_problem(source.id):
            files.append(f"{one_line(str(source.image))}: {problem}")
        try:
            facts[split].append(_facts(pair, source, reading))
        except BadImageError as error:
            unread.append(str(error))
        if pair.thumbnail is not None:
            able.append((Pair(source.id, "", "", split, "real"), pair.thumbnail))
    if len(unread) * 2 > sum(map(len, splits.values())):
        whole += unread
    else:
        files += unread
    if not whole and not unread:
        whole += set_problems({split: members for split, members in facts.items() if members})
    if len(able) > 1:
        files += leaks([pair for pair, _ in able], np.array([small for _, small in able], np.float32), ())[0]
    return sorted(whole), sorted(files)


def _facts(pair: Seen, source: Source, reading: Reading) -> MaskFacts:
    """Return the facts of a pair's mask under this reading. Raises: BadImageError when it cannot be read so."""
    if pair.facts and replace(pair.reading, stated=reading.stated) == reading:
        return pair.facts
    return mask_facts(read_source(source, reading)[1], source.id)
