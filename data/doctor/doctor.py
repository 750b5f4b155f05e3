"""Looking at a folder of pairs before anything is made of it: what it is, what is wrong with it, which row fits it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.doctor.faults import FAULTS, code_of
from data.doctor.look import Seen, look
from data.doctor.suggest import fitting_row
from data.drawing import evenly, line, outlined, reduced, tiled
from data.layouts.folders import unique_ids
from data.layouts.layouts import find
from data.layouts.leftovers import lone_folders
from data.mask_files.checks import one_for_all
from data.pairs.files import sha256_file
from data.pairs.parallel import threaded
from data.prepare.config import FolderDataset
from data.prepare.grouping import group_hint
from data.prepare.likeness import FRAME_CORRELATION, alike_neighbours, near_duplicates
from data.prepare.prepare import how_to_read
from data.readers.config import Which
from data.readers.reading import read_source
from data.readers.sources import Found, Source

OVERLAYS, COLUMNS, TILE_PX = 12, 4, 256


def _across(seen: list[Seen]) -> Iterator[tuple[str, str]]:
    """Yield (code, text) for images that are alike: twice in a split, in two splits, or as frames of a sequence."""
    able = [s for s in seen if s.thumbnail is not None]
    if not able:
        return
    sources = [s.source for s in able]
    names = [f"{source.split}/{source.id}" if source.split else source.id for source in sources]
    digests = [n if s.reader else sha256_file(s.image) for n, s in zip(names, sources, strict=True)]
    thumbnails = np.array([s.thumbnail for s in able], np.float32)
    neighbours = alike_neighbours(sources, [s.thumbnail for s in able], FRAME_CORRELATION)
    ungrouped = [sources[before].id for before, _ in neighbours if not sources[before].group]
    frames = Counter(name.rstrip("0123456789") for name in ungrouped)
    for stem, count in frames.items():
        if count >= 3:
            yield "sequence", f"{count} neighbours among {stem}0, {stem}1, ..."
    for across in (True, False):
        for i, j, likeness in near_duplicates(thumbnails, [source.split for source in sources], across=across):
            if sources[i].group and sources[i].group == sources[j].group:
                continue  # slices of one volume
            text = f"{names[i]} and {names[j]} (correlation {likeness:.4f})"
            if not across:
                yield "near_duplicate", text
            elif digests[i] == digests[j]:
                yield "same_image_across_splits", text
            else:
                yield "near_duplicate_across_splits", text


def _hinted(found: Found) -> Iterator[tuple[str, str]]:
    """Yield what the ids share as images of one patient do, where nothing else says what belongs together."""
    splits: dict[str, list[Source]] = {}
    for source in unique_ids(list(found.sources)):
        splits.setdefault(source.split, []).append(source)
    pattern, prefixes, torn = group_hint(splits)
    if pattern:
        in_two = f"; {len(torn)} of them in two splits" if torn else ""
        yield (
            "group_hint",
            f"{len(prefixes)} prefixes by group: {pattern!r}, such as {', '.join(prefixes[:3])}{in_two}",
        )


def _percent(values: list[float], reduce: Any) -> float | None:
    return round(100 * float(reduce(values)), 3) if values else None


def examine(folder: Path, layout: str | None = None, which: Which | None = None) -> tuple[dict[str, Any], list[Source]]:
    """Return the findings as one JSON object, and the pairs that can be drawn.

    `row` is what reads the folder, or null where none does; `stops` is what `prepare` would refuse with it.

    Raises: UserError when the folder is missing, holds no pairs, or the layout is unknown.
    """
    found = find(folder, layout, which)
    seen = list(threaded(lambda s: look(s, found.mask_threshold), found.sources, title="doctor", unit="pair"))
    faults = [fault for pair in seen for fault in pair.faults]
    faults += [(code_of(line), line) for line in found.unmatched]
    faults += [*_across(seen), *found.unused, *_hinted(found)]
    same = one_for_all([pair.facts for pair in seen if pair.facts])
    faults += [("same_mask", same)] if same else []
    counts = Counter(code for code, _ in faults)
    row, stops = fitting_row(folder, found, seen, set(counts), which)
    sizes = Counter(pair.size for pair in seen if pair.size)
    sides = [s for size in sizes.elements() for s in size]
    inflation = [pair.inflation for pair in seen if pair.inflation is not None]
    result = {
        "folder": str(folder),
        "layout": found.layout,
        "pairs": len(found.sources),
        "unmatched": len(found.unmatched),
        "splits": dict(sorted(Counter(source.split or "all" for source in found.sources).items())),
        "sizes": {
            "distinct": len(sizes),
            "min_side": min(sides, default=None),
            "max_side": max(sides, default=None),
            "most_common": [list(size) for size, _ in sizes.most_common(3)],
        },
        "mask_values": {
            "grey_share_median_percent": _percent([s.grey_share for s in seen if s.grey_share is not None], np.median),
            "inflation_gt0_median_percent": _percent(inflation, np.median),
            "inflation_gt0_max_percent": _percent(inflation, np.max),
            "foreground_median_percent": _percent([pair.foreground for pair in seen if pair.size], np.median),
        },
        "faults": [
            {"code": code, "severity": FAULTS[code][0], "text": FAULTS[code][1], "count": counts[code],
             "files": sorted(text for other, text in faults if other == code)}
            for code in FAULTS if counts[code]
        ],
        "notes": [*found.notes, *lone_folders(folder, found)],
        "row": row,
        "stops": stops,
    }  # fmt: skip
    return result, [pair.source for pair in seen if pair.size]


def overlays(sources: list[Source], row: Mapping[str, Any]) -> np.ndarray:
    """Return uint8 (H, W, 3): up to twelve pairs, evenly chosen, each with the outline of its mask as the row reads it.

    Raises: BadImageError when the row reads a mask differently from how it was looked at.
    """
    anything = {"kind": "folder", "path": "any", "size_px": 32, "prompt": "", "splits": {"train": 0.5, "test": 0.5}}
    reading = how_to_read(FolderDataset.model_validate_json(json.dumps(anything | dict(row))))
    cells = []
    for source in evenly(sources, OVERLAYS):
        image, mask = read_source(source, reading)
        scale = TILE_PX / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        cells.append(outlined(reduced(image, size), mask, line("mask", 1), fine=False))
    return tiled(cells, COLUMNS, TILE_PX)
