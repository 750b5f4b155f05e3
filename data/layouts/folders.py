"""What the recognisers of layouts share: folders within folders, names of splits, pairs of two folders."""

import re
from dataclasses import replace
from pathlib import Path

from data.layouts.matching import match
from data.readers.sources import Source, pictures

# The first that is there is taken, so the order says which of several is meant.
IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "original", "jpegimages", "img_dir", "frames", "frame", "input", "inputs",
)  # fmt: skip
MASK_FOLDERS = (
    "1st_manual", "masks", "mask", "labels", "label", "gt", "ground truth", "groundtruth", "ground_truth",
    "annotations", "segmentationclasspng", "segmentationclass", "segmentationobject", "ann_dir", "target", "targets",
    "gts", "segmentation", "segmentations", "seg",
)  # fmt: skip
IMAGE_PARTS = {
    "image", "images", "img", "imgs", "input", "inputs", "frame", "frames", "original", "originals", "photo", "photos",
    "picture", "pictures", "jpegimages", "rgb", "scan", "scans",
}  # fmt: skip
MASK_PARTS = {
    "mask", "masks", "label", "labels", "gt", "gts", "groundtruth", "annotation", "annotations", "annot", "ann",
    "anno", "target", "targets", "seg", "segs", "segmentation", "segmentations", "segmentationclass", "manual", "truth",
}  # fmt: skip
BY_PRODUCT_FOLDERS = {
    "__macosx", ".git", ".svn", ".hg", ".dvc", ".idea", ".vscode", ".ipynb_checkpoints", "__pycache__", ".appledouble",
    "@eadir", "$recycle.bin", "system volume information", ".trashes", ".spotlight-v100", ".fseventsd", "lost+found",
    ".cache", ".thumbnails",
}  # fmt: skip
SIDES = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
GLUED = re.compile(r"^(training|train|validation|valid|val|testing|test)([a-z]+)$")  # as in trainannot
DEPTH = 8
BELOW = 16  # levels within a folder of images: what lies deeper is no data set
MOST_DEPTH = 8  # of folders in an id


def children(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and what other systems leave."""
    shown = (p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in BY_PRODUCT_FOLDERS)
    return sorted(path for path in shown if path.is_dir())


def child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder in a folder that bears the first of these names, in small or capital letters."""
    by_name = {place.name.lower(): place for place in children(folder)}
    return next((by_name[name] for name in names if name in by_name), None)


def leads_up(path: Path) -> bool:
    """Return whether a path is a link to a folder that it lies in."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def folders_within(folder: Path, depth: int = DEPTH, seen: tuple[Path, ...] = ()) -> list[Path]:
    """Return the folder and those in it, so many levels down; a link to one that lies above is not followed."""
    here = folder.resolve()
    if here in seen or leads_up(folder):
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
        while len({_named(source, depth) for source in rivals}) < len(rivals) and depth < MOST_DEPTH:
            depth += 1
        clear += [replace(s, id=_named(s, depth), name=s.own_name) if depth else s for s in rivals]
    return clear


def _named(source: Source, depth: int) -> str:
    if not depth:
        return source.id
    parts = [part for part in source.image.parent.parts if part.lower() not in IMAGE_FOLDERS]
    return re.sub(r"[^\w.()-]+", "-", "-".join([*parts[len(parts) - depth :], source.id]))


def by_split(sources: list[Source]) -> list[Source]:
    """Return the sources sorted by split and id, under ids that no two of one split share."""
    clear: list[Source] = []
    for split in {source.split: None for source in sources}:
        clear += unique_ids([source for source in sources if source.split == split])
    return sorted(clear, key=lambda source: (source.split, source.id))


def folder_kind(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return whether a folder of this name holds images or masks, and the rest of its name; None where neither.

    train_images and TrainImages are (images, (train,)), GT is (masks, ()).
    """
    plain = name.lower()
    if plain in IMAGE_FOLDERS or plain in MASK_FOLDERS:
        return ("images" if plain in IMAGE_FOLDERS else "masks"), ()
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    words = re.sub(r"ground[^a-z0-9]truth", "groundtruth", words)
    tokens = [part for word in re.split(r"[^a-z0-9]+", words) if word for part in _unglued(word)]
    kind = "masks" if MASK_PARTS & set(tokens) else "images" if IMAGE_PARTS & set(tokens) else None
    return (kind, tuple(token for token in tokens if token not in MASK_PARTS | IMAGE_PARTS)) if kind else None


def _unglued(word: str) -> tuple[str, ...]:
    """Return train and annot for trainannot, any other word as it is."""
    parts = GLUED.match(word)
    return (parts[1], parts[2]) if parts and parts[2] in IMAGE_PARTS | MASK_PARTS else (word,)


def _two_folders(place: Path, unmatched: list[str]) -> list[tuple[Path, Path, str]]:
    """Return (images, masks, rest of their names) of the folders in a place that belong together by their names."""
    inner = children(place)
    images, masks = child(place, IMAGE_FOLDERS), child(place, MASK_FOLDERS)
    found = [(images, masks, "")] if images and masks else []
    taken = {path.name.lower(): path for pair in found for path in pair[:2]}
    twins = [path for path in inner if taken.get(path.name.lower(), path) != path]
    unmatched += [f"{path}: another folder has this name in other capitals: rename one" for path in twins]
    kinds: dict[tuple[str, tuple[str, ...]], list[Path]] = {}
    for path in inner:
        kinds.setdefault(folder_kind(path.name) or ("", (path.name.lower(),)), []).append(path)
    for (kind, rest), theirs in kinds.items():
        if kind != "masks" or (found and not rest):
            continue
        plain = [path for path in kinds.get(("", ("".join(rest),)), []) if pictures(path)]  # train beside train_masks
        ours = kinds.get(("images", rest), []) or plain
        if len(ours) == len(theirs) == 1:
            found.append((ours[0], theirs[0], "-".join(rest)))
        elif ours:
            names = ", ".join(sorted(path.name for path in (*ours, *theirs)))
            unmatched.append(f"{place}: which of {names} belong together? Say so by `images` and `masks` in the row")
    return found


def _of_one_class(images: Path, masks: Path, unmatched: list[str]) -> Path | None:
    """Return the folder that holds the masks: masks/0 where images has no such folder, as UNet++ keeps them."""
    inner = children(masks)
    numbered = [place for place in inner if place.name.isdecimal() and not (images / place.name).is_dir()]
    if not numbered or len(numbered) < len(inner) or pictures(masks):
        return masks
    if len(numbered) == 1:
        return numbered[0]
    names = ", ".join(place.name for place in numbered)
    unmatched.append(f"{masks}: holds folders {names}: say which masks are meant by `images` and `masks` in the row")
    return None


def folder_pairs(folder: Path, unmatched: list[str]) -> list[Source]:
    """Return the pairs of every folder that holds an image folder and a mask folder, at most eight levels down.

    The split is the name of what lies above the two (train/images), or below both of them (images/train), or what
    their names share (train_images). Folders within the two belong together by their paths; what has no counterpart is
    unmatched.
    """
    sources = []
    for place in folders_within(folder):
        for images, all_masks, rest in _two_folders(place, unmatched):
            masks = _of_one_class(images, all_masks, unmatched)
            if masks is None:
                continue
            split = split_name(rest) if rest else split_name(place.name) if place != folder else ""
            below = [path.relative_to(top) for top in (images, masks) for path in folders_within(top, BELOW)]
            for path in dict.fromkeys(below):
                files, others = pictures(images / path), pictures(masks / path)
                side = split_name(path.parts[0]) if path.parts else split
                sources += match(files, others, unmatched, split=side) if files or others else []
    return sources
