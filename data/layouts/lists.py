"""Layouts in which a list, or an array, says which image and mask belong together."""

import json
from dataclasses import replace
from pathlib import Path

from data.layouts.folders import child, children, folders_within, found_pairs, split_name
from data.layouts.npz import BROKEN, array_names, check_arrays
from data.layouts.sources import Found, Source, file_named, match, pictures, plain_stem
from data.pairs.errors import UserError

LIST_OF_PAIRS = "prompt.json"  # of ControlNet's and Siamese-Diffusion's code, so that every fault of it is told
EACH_FOLDER = "ImageSets/Segmentation"
VOC_MASKS = (
    "segmentationclasspng",
    "segmentationclass",
    "segmentationobject",
)  # labelme2voc keeps arrays in the second


def _lines(path: Path, key: str, unmatched: list[str]) -> list[dict]:
    """Return the objects of a JSON Lines file or a JSON array, an empty one for an entry that is none.

    Nothing where no entry has that key; of a prompt.json `unmatched` says why.
    """
    is_meant = path.name == LIST_OF_PAIRS
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        unmatched += [f"{path}: cannot be read ({error}): save it as UTF-8"] if is_meant else []
        return []
    values: list = []
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError as error:
            unmatched += [f"{path}: is no JSON array ({error})"] if is_meant else []
    else:
        values = [_value(line) for line in text.splitlines() if line.strip()]
    rows = [value if isinstance(value, dict) else {} for value in values]
    if any(key in row for row in rows):
        return rows
    if is_meant and values:
        keys = sorted({str(name) for row in rows for name in row})
        unmatched.append(f"{path}: no entry names a {key}; it has {', '.join(keys[:8]) or 'no objects, one a line'}")
    return []


def _value(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _listed(folder: Path, name: str, image_key: str, mask_keys: tuple[str, ...], layout: str) -> Found | None:
    unmatched: list[str] = []
    by_image: dict[tuple[str, Path], Source] = {}
    outside = 0
    for path in sorted(found for place in folders_within(folder, 2) for found in place.glob(name)):
        split = split_name(path.parent.name) if path.parent != folder else ""
        for number, row in enumerate(_lines(path, image_key, unmatched), 1):
            mask_key = next((key for key in mask_keys if key in row), "")
            if image_key not in row or not mask_key:
                unmatched.append(f"{path}: entry {number} names no {image_key} or no {mask_keys[0]}")
                continue
            image, mask = (file_named(path.parent, str(row[key])) for key in (image_key, mask_key))
            missing = [str(file) for file in (image, mask) if not file.is_file()]
            unmatched += [f"{file}: named in {path.name}, but is not there" for file in missing]
            if missing:
                continue
            outside += not image.resolve().is_relative_to(folder.resolve())
            side = split_name(str(row["split"])) if "split" in row else split
            new = Source(plain_stem(image), image, (), side, prompt=str(row.get("prompt", "")))
            kept = by_image.setdefault((side, image), new)
            by_image[side, image] = replace(kept, masks=(*kept.masks, mask))
    note = f"{outside} images lie outside {folder}: DVC does not see when they change"
    return found_pairs(layout, list(by_image.values()), unmatched, notes=(note,) if outside else (), listed=True)


def jsonl(folder: Path) -> Found | None:
    return _listed(folder, "*.json*", "target", ("source",), "jsonl")


def imagefolder(folder: Path) -> Found | None:
    keys = ("mask_file_name", "mask", "label_file_name", "label", "segmentation")
    return _listed(folder, "metadata.jsonl", "file_name", keys, "imagefolder")


def medsegbench(folder: Path) -> Found | None:
    sources = []
    for path in [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz")):
        try:
            names = array_names(path)
            for split in ("train", "val", "test"):
                if f"{split}_images" in names:
                    rows = range(check_arrays(path, split))
                    sources += [Source(f"{path.stem}-{i:05d}", path, (path,), split, index=i) for i in rows]
        except (*BROKEN, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} cannot be used: {error}", ["needed are uint8 images and whole-number masks"]
            ) from error
    return found_pairs("medsegbench", sources, [], mask_threshold=0, listed=True)


def voc(folder: Path) -> Found | None:
    """JPEGImages with SegmentationClass (or SegmentationObject), and the lists of ImageSets/Segmentation as splits."""
    unmatched: list[str] = []
    notes: list[str] = []
    sources: list[Source] = []
    left_out: list[Path] = []
    for place in folders_within(folder, 3):
        images = child(place, ("jpegimages",))
        kinds = [found for name in VOC_MASKS if (found := child(place, (name,))) and pictures(found)]
        if not images or not kinds:
            continue
        masks = kinds[0]
        left_out += [p for p in children(place) if p.name.lower().startswith("segmentation") and p != masks]
        splits = _image_sets(place, unmatched)
        lists = child(place, ("imagesets",))
        left_out += sorted(lists.rglob("*.txt")) if lists else []
        wanted = {name for names in splits.values() for name in names}
        if not splits:
            sources += match(pictures(images), pictures(masks), unmatched)
            continue
        with_mask = {plain_stem(path) for path in pictures(masks)}
        without = [path for path in pictures(images) if plain_stem(path) not in wanted | with_mask]
        left_out += without
        notes += [f"{images}: {len(without)} images have no mask and stand in no list, left out"] if without else []
        unmatched += [
            f"{path}: stands in no list of {EACH_FOLDER}" for path in pictures(masks) if plain_stem(path) not in wanted
        ]
        for split, names in splits.items():
            ours = [path for path in pictures(images) if plain_stem(path) in names]
            theirs = [path for path in pictures(masks) if plain_stem(path) in names]
            sources += match(ours, theirs, unmatched, split=split)
            there = {plain_stem(path) for path in (*ours, *theirs)}
            unmatched += [
                f"{images / name}: named in the list {split}, but is not there" for name in sorted(names - there)
            ]
    return found_pairs("voc", sources, unmatched, notes=tuple(notes), left_out=tuple(left_out))


def _image_sets(place: Path, unmatched: list[str]) -> dict[str, set[str]]:
    """Return split -> stems of ImageSets/Segmentation, train first; trainval is both of two others and not read."""
    lists = child(place, ("imagesets",))
    lists = lists and child(lists, ("segmentation",))
    splits: dict[str, set[str]] = {}
    for path in sorted(lists.glob("*.txt")) if lists else ():
        try:
            names = {line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()}
        except (ValueError, OSError):
            unmatched.append(f"{path}: is not written in UTF-8: save it anew")
            continue
        splits[split_name(path.stem)] = names
    if len(splits) > 1:
        splits.pop("trainval", None)
    return splits
