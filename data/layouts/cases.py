"""Layouts in which images and masks lie in one folder, or each image in one of its own."""

import re
from pathlib import Path

from data.layouts.folders import SIDES, folders_within, split_name
from data.layouts.matching import IMAGE_WORDS, MASK_SUFFIX, MASK_WORDS, WORD_AROUND, match
from data.readers.sources import Found, Source, pictures

IMAGE_NAME = re.compile("|".join(IMAGE_WORDS), re.IGNORECASE)
MASK_NAME = re.compile(rf"({'|'.join(MASK_WORDS)})([ _-]?\d+)?", re.IGNORECASE)
MASK_IN_FRONT = re.compile(rf"(?:{'|'.join(MASK_WORDS)})(?:[ _.-]+|(?=\d))", re.IGNORECASE)
OF_LABELME = ("label_viz",)  # labelme_json_to_dataset leaves img.png, label.png and this picture of both


def _side(name: str) -> str:
    side = split_name(name)
    return side if side in SIDES.values() else ""


def dsb(folder: Path, found: Found) -> None:
    """One folder an image, with a folder of many masks that belong to it."""
    places = [place for place in folders_within(folder, 2) if place != folder and (place / "images").is_dir()]
    cases = [place for place in places if (place / "masks").is_dir()]
    if not cases or any([path.stem for path in pictures(case / "images")] != [case.name] for case in cases):
        return
    for place in places:
        images, masks = pictures(place / "images"), pictures(place / "masks")
        if masks:
            found.sources.append(Source(place.name, images[0], tuple(masks), _side(place.parent.name)))
        else:
            found.unmatched += [f"{path}: has no mask" for path in images]


def cases(folder: Path, found: Found) -> None:
    """One folder an image, which holds the two as image.png and mask.png."""
    for place in folders_within(folder):
        files = pictures(place)
        images = [path for path in files if IMAGE_NAME.fullmatch(path.stem)]
        masks = [path for path in files if MASK_NAME.fullmatch(path.stem)]
        if len(images) == 1 and masks:
            found.sources.append(Source(place.name, images[0], tuple(masks), _side(place.parent.name)))
            found.left_out += [path for path in files if path.stem in OF_LABELME]
        elif len(images) > 1 and masks:
            found.unmatched += [f"{path}: is one of several images of this folder" for path in images]
        else:
            found.unmatched += [f"{path}: has no mask" for path in images]
            found.unmatched += [f"{path}: has no image" for path in masks]


def _masks_among(files: list[Path]) -> list[Path]:
    """Return the files that are masks by their names: cell_mask, else mask_1 or mask1 beside an image, else p1 by 1."""
    if masks := [path for path in files if MASK_SUFFIX.search(path.stem)]:
        return masks
    in_front = {path: WORD_AROUND.sub("", path.stem) for path in files if MASK_IN_FRONT.match(path.stem)}
    images = {WORD_AROUND.sub("", path.stem) for path in files if path not in in_front}
    if images & set(in_front.values()):
        return list(in_front)
    numbers = {path.stem for path in files if path.stem.isdecimal()}
    with_p = [path for path in files if re.fullmatch(r"p\d+", path.stem)]
    return with_p if numbers & {path.stem[1:] for path in with_p} else []


def beside(folder: Path, found: Found) -> None:
    """Images and masks in one folder, told apart by their names."""
    without: list[Path] = []
    for place in folders_within(folder):
        files = pictures(place)
        masks = _masks_among(files)
        if not masks:
            without += files
            continue
        images = [path for path in files if path not in set(masks)]
        name = "" if place == folder else split_name(place.name)
        side = name if name in SIDES.values() else ""
        found.sources += match(images, masks, found.unmatched, split=side, domain="" if side else name)
    if found.sources or found.unmatched:
        found.unmatched += [f"{path}: has no mask" for path in without]
