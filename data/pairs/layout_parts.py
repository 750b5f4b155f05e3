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


def children(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and what archivers of other systems leave."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder in a folder that bears the first of these names, in small or capital letters."""
    by_name = {place.name.lower(): place for place in children(folder)}
    return next((by_name[name] for name in names if name in by_name), None)


def folders_within(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Return the folder and those in it, so many levels down."""
    deeper = [found for place in children(folder) for found in folders_within(place, depth - 1)] if depth else []
    return [folder, *deeper]


def split_name(name: str) -> str:
    """Return the split that a folder's name stands for: train for TrainDataset, val for valid, cvc-300 for CVC-300."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower().removesuffix("dataset").removesuffix("_set")).strip("-_")
    return SIDES.get(plain, plain)


def found_pairs(layout: str, sources: list[Source], unmatched: list[str], **more) -> Found | None:
    """Return the pairs under ids that no two of one split share, or None when there are none."""
    counts: dict[tuple[str, str], int] = {}
    for source in sources:
        counts[source.split, source.id] = counts.get((source.split, source.id), 0) + 1
    if not sources:
        return None
    clear = []
    for source in sources:
        if counts[source.split, source.id] > 1:
            name = f"{source.domain or source.image.parent.name}-{source.id}"
            source = replace(source, id=re.sub(r"[^\w-]+", "-", name))
        clear.append(source)
    return Found(layout, tuple(sorted(clear, key=lambda s: (s.split, s.id))), tuple(unmatched), **more)


def folder_pairs(folder: Path, unmatched: list[str]) -> list[Source]:
    """Return the pairs of every folder that holds an image folder and a mask folder, at most three levels down.

    The split is the name of what lies above the two (train/images), or below both of them (images/train).
    """
    sources = []
    for place in folders_within(folder):
        images, masks = child(place, IMAGE_FOLDERS), child(place, MASK_FOLDERS)
        if not images or not masks:
            continue
        split = split_name(place.name) if place != folder else ""
        if pictures(images) or pictures(masks):
            sources += match(pictures(images), pictures(masks), unmatched, split=split)
        for below in children(images):
            other = masks / below.name
            if other.is_dir():
                name = split_name(below.name)
                sources += match(pictures(below), pictures(other), unmatched, split=name)
    return sources
