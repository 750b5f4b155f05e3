"""Looking at a folder of pairs before anything is made of it: what it is, what is wrong with it, which row fits it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.pairs.config import Which
from data.pairs.duplicates import near_duplicates
from data.pairs.faults import FAULTS, Seen, look
from data.pairs.files import sha256_file
from data.pairs.image_io import MASK_THRESHOLD
from data.pairs.layouts import find
from data.pairs.parallel import threaded
from data.pairs.sequences import FRAME_CORRELATION, alike_neighbours
from data.pairs.sources import Found, Source, read_source

UNMATCHED = {
    "has no mask": "no_mask",
    "has no image": "no_image",
    "shares its stem": "shared_stem",
    "but is not there": "missing",
    "names no": "missing",
    "is a link to": "dangling",
    "is not read": "unread",
    "is hidden": "unread",
    "belongs to no pair": "unread",
}
EXAMPLES, OVERLAYS, TILE_PX, FEW_GROUPS = 5, 12, 256, 10


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


def suggest_row(
    folder: Path, found: Found, seen: list[Seen], codes: set[str], which: Which | None = None
) -> dict[str, Any]:
    """Return the row of params.yaml that reads this folder."""
    sides = sorted({source.split for source in found.sources})
    groups = {source.group for source in found.sources}
    few = "" not in groups and len(groups) < FEW_GROUPS  # a group goes where its first pair falls
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
        row["sequence_likeness"] = FRAME_CORRELATION
    if found.classes or {"class_mask", "colour_mask"} & codes:
        if classes := dict(found.classes) or _classes(seen):
            row["classes"] = classes
    elif found.mask_threshold == 0 or ("zero_one_mask" in codes and all(s.numbered and s.labels <= {1} for s in seen)):
        row["mask_threshold"] = 0
    return row


def _said(which: Which) -> dict[str, Any]:
    """Return what was said of which files are meant as keys of the row."""
    files: dict[str, Any] = {key: value for key, value in which._asdict().items() if value}
    return files | ({"slices": which.slices.model_dump(mode="json")} if which.slices else {})


def _classes(seen: list[Seen]) -> dict[str, Any]:
    """Return a name for each value of masks that have few of them, or nothing when only some masks do."""
    if not all(one.numbered for one in seen):
        return {}
    values = sorted(frozenset().union(*(one.labels for one in seen)), key=str)
    return {f"class-{number}": list(v) if isinstance(v, tuple) else v for number, v in enumerate(values, 1)}


def _percent(values: list[float], reduce: Any) -> float | None:
    return round(100 * float(reduce(values)), 3) if values else None


def examine(folder: Path, layout: str | None = None, which: Which | None = None) -> tuple[dict[str, Any], list[Source]]:
    """Return the findings as one JSON object, and the pairs that can be drawn.

    Raises: UserError when the folder is missing, holds no pairs, or the layout is unknown.
    """
    found = find(folder, layout, which)
    seen = list(look_at_all(found))
    faults = [fault for one in seen for fault in one.faults]
    for line in found.unmatched:
        faults.append((next((code for end, code in UNMATCHED.items() if end in line), "unmatched"), line))
    faults += [*_across(seen), *found.unused]
    counts = Counter(code for code, _ in faults)
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
        "row": suggest_row(folder, found, seen, set(counts), which),
    }  # fmt: skip
    return result, [one.source for one in seen if one.size]


def overlays(sources: list[Source], row: Mapping[str, Any]) -> np.ndarray:
    """Return uint8 (H, W, 3): up to twelve pairs, evenly chosen, each with the outline of its mask as the row reads it.

    Raises: BadImageError when the row reads a mask differently from how it was looked at.
    """
    values = [tuple(v) if isinstance(v, list) else v for v in row.get("classes", {}).values()]
    import cv2

    chosen = [sources[i] for i in np.linspace(0, len(sources) - 1, min(OVERLAYS, len(sources))).round().astype(int)]
    tiles = []
    for source in chosen:
        image, mask = read_source(source, row.get("mask_threshold", MASK_THRESHOLD), values)
        scale = TILE_PX / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        lesion = cv2.resize((mask > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(lesion, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(small, outline, -1, (0, 0, 0), 3)
        cv2.drawContours(small, outline, -1, (255, 255, 0), 1)
        tile = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
        tile[: size[1], : size[0]] = small
        tiles.append(tile)
    tiles += [np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)] * (-len(tiles) % 4)
    return np.concatenate([np.concatenate(tiles[i : i + 4], 1) for i in range(0, len(tiles), 4)])
