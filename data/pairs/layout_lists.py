"""Layouts in which a list, or an array, says which image and mask belong together."""

import json
from dataclasses import replace
from pathlib import Path

from data.pairs.arrays import BROKEN, array_names, check_arrays
from data.pairs.errors import UserError
from data.pairs.layout_parts import folders_within, found_pairs, split_name
from data.pairs.sources import Found, Source, plain_stem


def _lines(path: Path, key: str) -> list[dict]:
    """Return the objects of a JSON Lines file, an empty one for a line that is none, or nothing without that key."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (ValueError, OSError):
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            row = {}
        rows.append(row if isinstance(row, dict) else {})
    return rows if any(key in row for row in rows) else []


def _listed(folder: Path, name: str, image_key: str, mask_keys: tuple[str, ...], layout: str) -> Found | None:
    unmatched: list[str] = []
    by_image: dict[tuple[str, Path], Source] = {}
    outside = 0
    for path in sorted(found for place in folders_within(folder, 2) for found in place.glob(name)):
        split = split_name(path.parent.name) if path.parent != folder else ""
        for number, row in enumerate(_lines(path, image_key), 1):
            mask_key = next((key for key in mask_keys if key in row), "")
            if image_key not in row or not mask_key:
                unmatched.append(f"{path}: entry {number} names no {image_key} or no {mask_keys[0]}")
                continue
            image, mask = path.parent / str(row[image_key]), path.parent / str(row[mask_key])
            missing = [str(file) for file in (image, mask) if not file.is_file()]
            unmatched += [f"{file}: named in {path.name}, but is not there" for file in missing]
            if missing:
                continue
            outside += not image.resolve().is_relative_to(folder.resolve())
            side = split_name(str(row["split"])) if "split" in row else split
            new = Source(plain_stem(image), image, (), side, prompt=str(row.get("prompt", "")))
            kept = by_image.setdefault((side, image), new)
            by_image[side, image] = replace(kept, masks=(*kept.masks, mask))
    if not any(source.masks for source in by_image.values()):
        return None
    note = f"{outside} images lie outside {folder}: DVC does not see when they change"
    return found_pairs(layout, list(by_image.values()), unmatched, notes=(note,) if outside else ())


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
    return found_pairs("medsegbench", sources, [], mask_threshold=0)
