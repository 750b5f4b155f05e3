"""COCO: a JSON file of images and of outlines, polygons or run lengths, read through pycocotools."""

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.layouts.folders import SIDES, folders_within
from data.layouts.nnunet_labels import class_names
from data.mask_files.read import Reading, read_values
from data.pairs.errors import BadImageError, naming
from data.pairs.image_io import read_image
from data.readers.known_forms import COCO, form_of
from data.readers.sources import Found, Source, pictures, plain_stem

MOST_BYTES = 1 << 30  # of a JSON file
SIDE = re.compile(r"(train|val|test|valid|training|validation|testing)(?![a-z])")


@dataclass(frozen=True)
class Outlines:
    """The outlines of one image; each has the number of its class, and where they overlap the larger number counts."""

    file: Path
    image: Path
    size: tuple[int, int]  # width, height as the file says
    outlines: tuple[tuple[int, Any], ...] = field(hash=False)  # number of the class, segmentation as in the file

    def image_alone(self) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        with naming(self.image):
            image = read_image(self.image)
            size = (image.shape[1], image.shape[0])
            if size != self.size:
                said = f"{self.size[0]}x{self.size[1]} in {self.file.name}"
                raise BadImageError(f"is {size[0]}x{size[1]} but {said}", "size_mismatch")
            return image

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""
        image = self.image_alone()
        with naming(self.image):
            values = np.zeros(image.shape[:2], np.uint8)
            for number, segmentation in sorted(self.outlines, key=lambda outline: outline[0]):
                try:
                    values[_area(segmentation, *self.size) > 0] = number
                except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                    text = f"an outline in {self.file.name} cannot be read ({error})"
                    raise BadImageError(text, "damaged") from error
            with naming(f"its outlines in {self.file.name}"):
                return image, read_values(values, reading)


def _area(segmentation: Any, width: int, height: int) -> np.ndarray:
    """Return uint8 (height, width) in {0, 1} of polygons, or of run lengths as numbers or as text."""
    from pycocotools import mask

    if isinstance(segmentation, list):
        return mask.decode(mask.merge(mask.frPyObjects(segmentation, height, width)))
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, the image is [{height}, {width}]")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if min(counts, default=0) < 0:
            raise ValueError(f"its run lengths hold {min(counts)}, and none may be negative")
        if sum(counts) != height * width:
            raise ValueError(f"its run lengths add up to {sum(counts)}, not to {height * width}")
        return mask.decode(mask.frPyObjects(segmentation, height, width))
    return mask.decode({"size": [height, width], "counts": counts})


def _usable(segmentation: Any) -> bool:
    if isinstance(segmentation, Mapping):
        return {"size", "counts"} <= set(segmentation)
    is_list = isinstance(segmentation, list) and bool(segmentation)
    return is_list and all(isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0 for ring in segmentation)


def _refuse_lists(where: str, entry: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if isinstance(entry[key], list | dict):
            raise ValueError(f"{where}: its {key} is {entry[key]}, and a number or a text is needed")


def _read(path: Path, unmatched: list[str]) -> dict[str, Any] | None:
    """Return the content of a COCO file, or None for another file; of a damaged one `unmatched` says so."""
    if form_of(path) != COCO:
        return None
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is larger than 1 GiB")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images, annotations, categories = (content[key] for key in ("images", "annotations", "categories"))
        for image in images:
            _refuse_lists(f"image {image['file_name']}", image, "id")
            str(image["file_name"]), int(image["width"]), int(image["height"])
        for annotation in annotations:
            _refuse_lists(f"annotation {annotation.get('id', '?')}", annotation, "image_id", "category_id")
        {int(category["id"]): str(category["name"]) for category in categories}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        unmatched.append(f"{path}: is no COCO file that can be read ({type(error).__name__}: {error})")
        return None
    return content


def _place_of(name: str, path: Path, folder: Path, by_name: Mapping[str, list[Path]]) -> list[Path]:
    """Return the files that a name may stand for: beside the list or in the folder, else those that are so called."""
    plain = name.replace("\\", "/")
    for place in (path.parent, folder):
        try:
            if (place / plain).is_file():
                return [place / plain]
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # which no file can have, so that it is not there
                raise
    files = by_name.get(Path(plain).name, [])
    files = [file for file in files if file.as_posix().endswith(f"/{plain}")] or files
    stem = path.stem.lower()  # instances_train2017.json is of train2017/
    own = [file for file in files if any(stem.endswith(part.lower()) for part in file.relative_to(folder).parts[:-1])]
    return own if len(files) > 1 and own else files


def _split(path: Path, folder: Path) -> str:
    """Return the split that the file's name or else its folder's says: instances_train2017.json, train/x.coco.json."""
    for name in (path.stem, path.parent.name if path.parent != folder else ""):
        if found := SIDE.search(name.lower()):
            return SIDES.get(found[1], found[1])
    return ""


def coco(folder: Path, found: Found) -> None:
    """Images, and JSON files that list them with their outlines."""
    paths = [path for place in folders_within(folder, 3) for path in sorted(place.glob("*.json"))]
    contents = {path: content for path in paths if (content := _read(path, found.unmatched))}
    if not contents:
        return
    by_name: dict[str, list[Path]] = {}
    for file in (file for place in folders_within(folder) for file in pictures(place)):
        by_name.setdefault(file.name, []).append(file)
    names = _class_names(contents, found.unmatched)
    number = {category: place for place, category in enumerate(names, 1)}
    for path, content in contents.items():
        split = _split(path, folder) if len(contents) > 1 else ""
        outlines = _outlines(path, content, number, found.unmatched)
        found.sources += _pairs_of(path, content, folder, by_name, outlines, split, found.unmatched)
    found.classes = {name: number[category] for category, name in names.items()} if len(names) > 1 else {}
    found.mask_threshold, found.listed, found.left_out = 0, True, list(contents)


def _class_names(contents: Mapping[Path, dict], unmatched: list[str]) -> dict[int, str]:
    """Return id -> name, sorted by id, of the categories that have an outline in any of the files."""
    names: dict[int, str] = {}
    for path, content in contents.items():
        used = {annotation["category_id"] for annotation in content["annotations"]}
        said = {int(category["id"]): str(category["name"]) for category in content["categories"]}
        unmatched += [f"{path}: category {one} has outlines and no name" for one in sorted(used - set(said), key=str)]
        for category in sorted(used & set(said)):
            if names.setdefault(category, said[category]) != said[category]:
                unmatched.append(f"{path}: category {category} is {said[category]}, in another file {names[category]}")
    return class_names(names)


def _outlines(
    path: Path, content: Mapping[str, Any], number: Mapping[int, int], unmatched: list[str]
) -> dict[Any, list[tuple[int, Any]]]:
    """Return id of the image -> its outlines, each with the number of its class."""
    outlines: dict[Any, list[tuple[int, Any]]] = {}
    known = {image["id"] for image in content["images"]}
    for annotation in content["annotations"]:
        where = f"{path}: annotation {annotation.get('id', '?')}"
        if annotation["image_id"] not in known:
            unmatched.append(f"{where} is of image {annotation['image_id']}, which the file does not list")
        elif not _usable(annotation.get("segmentation")):
            unmatched.append(f"{where} has no outline that can be read: polygons or run lengths are needed, not boxes")
        elif annotation["category_id"] in number:
            outline = number[annotation["category_id"]], annotation["segmentation"]
            outlines.setdefault(annotation["image_id"], []).append(outline)
    return outlines


def _pairs_of(
    path: Path,
    content: Mapping[str, Any],
    folder: Path,
    by_name: Mapping[str, list[Path]],
    outlines: Mapping[Any, list[tuple[int, Any]]],
    split: str,
    unmatched: list[str],
) -> list[Source]:
    """Return the pairs of one file; every image in it that cannot be used is named."""
    sources: dict[Path, Source] = {}
    for image in content["images"]:
        name = str(image["file_name"])
        files = _place_of(name, path, folder, by_name)
        if len(files) != 1:
            several = f"stands for several files: {', '.join(str(file) for file in files)}"
            unmatched.append(f"{path.parent / name}: named in {path.name}, but {several if files else 'is not there'}")
        elif image["id"] not in outlines:
            unmatched.append(f"{files[0]}: has no mask, for {path.name} has no outline of it")
        elif files[0] in sources:
            unmatched.append(f"{files[0]}: stands twice in {path.name}")
        else:
            size = (int(image["width"]), int(image["height"]))
            reader = Outlines(path, files[0], size, tuple(outlines[image["id"]]))
            sources[files[0]] = Source(plain_stem(files[0]), files[0], (path,), split, reader=reader)
    return list(sources.values())
