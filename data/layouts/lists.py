"""Layouts in which a list, or an array, says which image and mask belong together."""

import json
from dataclasses import replace
from pathlib import Path

from data.layouts.folders import child, children, folders_within, split_name
from data.layouts.matching import match
from data.pairs.errors import UserError
from data.readers.npz import BROKEN, ArrayRow, array_names, check_arrays
from data.readers.sources import Found, Source, file_named, pictures, plain_stem, read_lines

LIST_OF_PAIRS = "prompt.json"  # of ControlNet's and Siamese-Diffusion's code, so that every fault of it is told
EACH_FOLDER = "ImageSets/Segmentation"
VOC_MASKS = ("segmentationclasspng", "segmentationclass", "segmentationobject")  # labelme2voc: arrays in the second


def _lines(path: Path, key: str, unmatched: list[str]) -> list[dict]:
    """Return the objects of a JSON Lines file or a JSON array, an empty one for an entry that is none.

    Nothing where no entry has that key; of a prompt.json `unmatched` says why.
    """
    values: list = []
    problem = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        is_array = text.lstrip().startswith("[")
        values = json.loads(text) if is_array else [_value(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        problem = f"is no JSON array ({error})"
    except (ValueError, OSError) as error:
        problem = f"cannot be read ({error}): save it as UTF-8"
    rows = [value if isinstance(value, dict) else {} for value in values]
    if any(key in row for row in rows):
        return rows
    if values:
        keys = sorted({str(name) for row in rows for name in row})
        problem = f"no entry names a {key}; it has {', '.join(keys[:8]) or 'no objects, one a line'}"
    unmatched += [f"{path}: {problem}"] if problem and path.name == LIST_OF_PAIRS else []
    return []


def _value(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _listed(folder: Path, name: str, image_key: str, mask_keys: tuple[str, ...], found: Found) -> None:
    by_image: dict[tuple[str, Path], Source] = {}
    found.listed = True
    for path in sorted(path for place in folders_within(folder, 2) for path in place.glob(name)):
        split = split_name(path.parent.name) if path.parent != folder else ""
        for number, row in enumerate(_lines(path, image_key, found.unmatched), 1):
            mask_key = next((key for key in mask_keys if key in row), "")
            if image_key not in row or not mask_key:
                found.unmatched.append(f"{path}: entry {number} names no {image_key} or no {mask_keys[0]}")
                continue
            image, mask = (file_named(path.parent, str(row[key])) for key in (image_key, mask_key))
            missing = [str(file) for file in (image, mask) if not file.is_file()]
            found.unmatched += [f"{file}: named in {path.name}, but is not there" for file in missing]
            if missing:
                continue
            side = split_name(str(row["split"])) if "split" in row else split
            new = Source(plain_stem(image), image, (), side, prompt=str(row.get("prompt", "")))
            kept = by_image.setdefault((side, image), new)
            by_image[side, image] = replace(kept, masks=(*kept.masks, mask))
    found.sources = list(by_image.values())


def jsonl(folder: Path, found: Found) -> None:
    _listed(folder, "*.json*", "target", ("source",), found)


def imagefolder(folder: Path, found: Found) -> None:
    keys = ("mask_file_name", "mask", "label_file_name", "label", "segmentation")
    _listed(folder, "metadata.jsonl", "file_name", keys, found)


def medsegbench(folder: Path, found: Found) -> None:
    found.mask_threshold, found.listed = 0, True
    for path in [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz")):
        try:
            names = array_names(path)
            for split in ("train", "val", "test"):
                if f"{split}_images" in names:
                    for index in range(check_arrays(path, split)):
                        name, reader = f"{path.stem}-{index:05d}", ArrayRow(path, split, index)
                        found.sources.append(Source(name, path, (path,), split, reader=reader))
        except (*BROKEN, KeyError, TypeError, AttributeError) as error:
            needed = ["needed are uint8 images and whole-number masks"]
            raise UserError(f"{path} cannot be used: {error}", needed) from error


def voc(folder: Path, found: Found) -> None:
    """JPEGImages with SegmentationClass (or SegmentationObject), and the lists of ImageSets/Segmentation as splits."""
    for place in folders_within(folder, 3):
        images = child(place, ("jpegimages",))
        masks = next((path for name in VOC_MASKS if (path := child(place, (name,))) and pictures(path)), None)
        if not images or not masks:
            continue
        found.left_out += [p for p in children(place) if p.name.lower().startswith("segmentation") and p != masks]
        lists = child(place, ("imagesets",))
        found.left_out += sorted(lists.rglob("*.txt")) if lists else []
        splits = _image_sets(lists, found.unmatched) if lists else {}
        if not splits:
            found.sources += match(pictures(images), pictures(masks), found.unmatched)
            continue
        wanted = {name for names in splits.values() for name in names}
        ours, theirs = ({path: plain_stem(path) for path in pictures(place)} for place in (images, masks))
        if without := [path for path, stem in ours.items() if stem not in wanted | {*theirs.values()}]:
            found.left_out += without
            found.notes.append(f"{images}: {len(without)} images have no mask and stand in no list, left out")
        unlisted = [path for path, stem in theirs.items() if stem not in wanted]
        found.unmatched += [f"{path}: stands in no list of {EACH_FOLDER}" for path in unlisted]
        for split, names in splits.items():
            chosen, their_masks = ([p for p, stem in files.items() if stem in names] for files in (ours, theirs))
            found.sources += match(chosen, their_masks, found.unmatched, split=split)
            missing = sorted(names - {*ours.values(), *theirs.values()})
            found.unmatched += [f"{images / name}: named in the list {split}, but is not there" for name in missing]


def _image_sets(lists: Path, unmatched: list[str]) -> dict[str, set[str]]:
    """Return split -> stems of ImageSets/Segmentation, train first; trainval is both of two others and not read."""
    place = child(lists, ("segmentation",))
    splits: dict[str, set[str]] = {}
    for path in sorted(place.glob("*.txt")) if place else ():
        before = len(unmatched)
        names = {line.strip() for line in read_lines(path, EACH_FOLDER, unmatched)}
        splits |= {split_name(path.stem): names} if len(unmatched) == before else {}
    if len(splits) > 1:
        splits.pop("trainval", None)
    return splits
