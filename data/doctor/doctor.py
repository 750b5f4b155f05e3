"""Looking at a folder of pairs before anything is made of it: what it is, what is wrong with it, which row fits it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.doctor.faults import FAULTS, UNMATCHED, Seen, look
from data.doctor.suggest import fitting_row
from data.drawing import evenly, outlined, reduced, tiled
from data.layouts.folders import unique_ids
from data.layouts.layouts import find
from data.layouts.sources import Found, Source, read_source
from data.mask_files.checks import one_for_all
from data.pairs.config import FolderDataset, Which
from data.pairs.files import sha256_file
from data.pairs.group_ids import groups_of, hinted_pattern, torn_groups
from data.pairs.parallel import threaded
from data.pairs.thumbnails import near_duplicates
from data.prepare.prepare import how_to_read
from data.prepare.sequences import FRAME_CORRELATION, alike_neighbours

OVERLAYS, COLUMNS, TILE_PX = 12, 4, 256
YELLOW = (((0, 0, 0), 3), ((255, 255, 0), 1))


def look_at_all(found: Found) -> Iterator[Seen]:
    """Yield what is seen in each pair, in order, looked at on all cores."""
    yield from threaded(lambda s: look(s, found.mask_threshold), found.sources, title="doctor", unit="pair")


def _across(seen: list[Seen]) -> Iterator[tuple[str, str]]:
    """Yield (code, text) for images that are alike: twice in a split, in two splits, or as frames of a sequence."""
    able = [s for s in seen if s.thumbnail is not None]
    if not able:
        return
    names = [f"{s.source.split}/{s.source.id}" if s.source.split else s.source.id for s in able]
    by_name = dict(zip(names, able, strict=True))
    digests = {n: n if s.source.index >= 0 else sha256_file(s.source.image) for n, s in by_name.items()}
    thumbnails = np.array([s.thumbnail for s in able], np.float32)
    neighbours = alike_neighbours([s.source for s in able], [s.thumbnail for s in able], FRAME_CORRELATION)
    ungrouped = [before for before, _ in neighbours if not able[before].source.group]
    frames = Counter(able[before].source.id.rstrip("0123456789") for before in ungrouped)
    for stem, count in frames.items():
        if count >= 3:
            yield "sequence", f"{count} neighbours among {stem}0, {stem}1, ..."
    sides = [one.source.split for one in able]
    for across in (True, False):
        for one_name, two_name, likeness in near_duplicates(names, thumbnails, sides, across=across):
            one, two = by_name[one_name].source, by_name[two_name].source
            if one.group and one.group == two.group:
                continue  # slices of one volume
            text = f"{one_name} and {two_name} (correlation {likeness:.4f})"
            if not across:
                yield "near_duplicate", text
            elif digests[one_name] == digests[two_name]:
                yield "same_image_across_splits", text
            else:
                yield "near_duplicate_across_splits", text


def _hinted(found: Found) -> Iterator[tuple[str, str]]:
    """Yield what the ids share as images of one patient do, where nothing else says what belongs together."""
    sources = unique_ids(list(found.sources))
    ids = [source.id for source in sources]
    pattern = "" if any(source.group for source in sources) else hinted_pattern(ids)
    if pattern:
        groups = groups_of(ids, pattern)
        sides: dict[str, list[str]] = {}
        for source, group in zip(sources, groups, strict=True):
            sides.setdefault(source.split, []).append(group)
        torn = torn_groups(sides)
        yield (
            "group_hint",
            f"{len({*groups})} prefixes by group: {pattern!r}, such as {', '.join(sorted({*groups})[:3])}"
            + (f"; {len(torn)} of them in two splits" if torn else ""),
        )


def _percent(values: list[float], reduce: Any) -> float | None:
    return round(100 * float(reduce(values)), 3) if values else None


def examine(folder: Path, layout: str | None = None, which: Which | None = None) -> tuple[dict[str, Any], list[Source]]:
    """Return the findings as one JSON object, and the pairs that can be drawn.

    `row` is what reads the folder, or null where none does; `stops` is what `prepare` would refuse with it.

    Raises: UserError when the folder is missing, holds no pairs, or the layout is unknown.
    """
    found = find(folder, layout, which)
    seen = list(look_at_all(found))
    faults = [fault for one in seen for fault in one.faults]
    for line in found.unmatched:
        faults.append((next((code for end, code in UNMATCHED.items() if end in line), "unmatched"), line))
    faults += [*_across(seen), *found.unused, *_hinted(found)]
    same = one_for_all([one.facts for one in seen if one.facts])
    faults += [("same_mask", same)] if same else []
    counts = Counter(code for code, _ in faults)
    row, stops = fitting_row(folder, found, seen, set(counts), which)
    sizes = Counter(one.size for one in seen if one.size)
    sides = [s for size in sizes.elements() for s in size]
    inflation = [one.inflation for one in seen if one.inflation is not None]
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
            "foreground_median_percent": _percent([one.foreground for one in seen if one.size], np.median),
        },
        "faults": [
            {"code": code, "severity": FAULTS[code][0], "text": FAULTS[code][1], "count": counts[code],
             "files": sorted(text for other, text in faults if other == code)}
            for code in FAULTS if counts[code]
        ],
        "notes": list(found.notes),
        "row": row,
        "stops": stops,
    }  # fmt: skip
    return result, [one.source for one in seen if one.size]


def overlays(sources: list[Source], row: Mapping[str, Any]) -> np.ndarray:
    """Return uint8 (H, W, 3): up to twelve pairs, evenly chosen, each with the outline of its mask as the row reads it.

    Raises: BadImageError when the row reads a mask differently from how it was looked at.
    """
    anything = {"kind": "folder", "path": "any", "size_px": 32, "prompt": "", "splits": {"train": 0.5, "test": 0.5}}
    reading = how_to_read(FolderDataset.model_validate_json(json.dumps(anything | dict(row))))
    cells = []
    for source in evenly(sources, OVERLAYS):
        image, mask = read_source(source, reading=reading)
        scale = TILE_PX / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        cells.append(outlined(reduced(image, size), mask, YELLOW, fine=False))
    return tiled(cells, COLUMNS, TILE_PX)
