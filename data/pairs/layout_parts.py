"""What the recognisers of layouts share: folders within folders, names of splits, pairs of two folders."""

import re
from dataclasses import replace
from pathlib import Path

from data.pairs.sources import Found, Source, match, pictures

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "original")
MASK_FOLDERS = (
    "1st_manual", "masks", "mask", "labels", "label", "gt", "ground truth", "groundtruth", "ground_truth",
    "annotations",
)  # fmt: skip
SIDES = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
DEPTH = 3
MOST_DEPTH = 8  # of folders in an id


def children(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and what archivers of other systems leave."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder in a folder that bears the first of these names, in small or capital letters."""
    by_name = {place.name.lower(): place for place in children(folder)}
    return next((by_name[name] for name in names if name in by_name), None)


def folders_within(folder: Path, depth: int = DEPTH, seen: tuple[Path, ...] = ()) -> list[Path]:
    """Return the folder and those in it, so many levels down; a link to one that lies above is not followed."""
    here = folder.resolve()
    if here in seen:
        return []
    inner = children(folder) if depth else []
    return [folder, *(found for place in inner for found in folders_within(place, depth - 1, (*seen, here)))]


def split_name(name: str) -> str:
    """Return the split that a folder's name stands for: train for TrainDataset, val for valid, cvc-300 for CVC-300."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower().removesuffix("dataset").removesuffix("_set")).strip("-_")
    return SIDES.get(plain, plain)


def unique_ids(sources: list[Source]) -> list[Source]:
    """Return the sources under ids that no two share: those that do get the names of folders above them in front."""
    by_id: dict[str, list[Source]] = {}
    for source in sources:
        by_id.setdefault(source.id, []).append(source)
    clear = []
    for rivals in by_id.values():
        depth = 0
        while len(rivals) > 1 and len({_named(one, depth) for one in rivals}) < len(rivals) and depth < MOST_DEPTH:
            depth += 1
        clear += [replace(one, id=_named(one, depth), name=one.own_name) if depth else one for one in rivals]
    return clear


def _named(source: Source, depth: int) -> str:
    parts = [part for part in source.image.parent.parts if part.lower() not in IMAGE_FOLDERS]
    return re.sub(r"[^\w.()-]+", "-", "-".join([*parts[len(parts) - depth :], source.id])) if depth else source.id


def found_pairs(layout: str, sources: list[Source], unmatched: list[str], **more) -> Found | None:
    """Return the pairs under ids that no two of one split share, or None when there are none."""
    if not sources:
        return None
    clear: list[Source] = []
    for split in {source.split: None for source in sources}:
        clear += unique_ids([source for source in sources if source.split == split])
    return Found(layout, tuple(sorted(clear, key=lambda s: (s.split, s.id))), tuple(unmatched), **more)


def folder_pairs(folder: Path, unmatched: list[str]) -> list[Source]:
    """Return the pairs of every folder that holds an image folder and a mask folder, at most three levels down.

    The split is the name of what lies above the two (train/images), or below both of them (images/train). Folders
    within the two belong together by their paths; what has no counterpart is unmatched.
    """
    sources = []
    for place in folders_within(folder):
        images, masks = child(place, IMAGE_FOLDERS), child(place, MASK_FOLDERS)
        if not images or not masks:
            continue
        split = split_name(place.name) if place != folder else ""
        below = [path.relative_to(images) for path in folders_within(images)]
        below += [path.relative_to(masks) for path in folders_within(masks) if path.relative_to(masks) not in below]
        for path in below:
            files, others = (pictures(p) if p.is_dir() else [] for p in (images / path, masks / path))
            side = split_name(path.parts[0]) if path.parts else split
            sources += match(files, others, unmatched, split=side) if files or others else []
    return sources
