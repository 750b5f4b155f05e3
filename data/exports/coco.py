"""COCO: one JSON file a split, with one annotation for each connected piece of each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.exports.bundle import Bundle, Item, copy_pair, write_readme
from data.exports.formats import Options
from data.pairs.errors import UserError
from data.pairs.files import write_json

HOW = """\
`annotations/<split>.json` belongs to `<split>/images/`. An annotation is one connected piece of one class as a
compressed RLE (read it with pycocotools); an image without lesion has none. `synthetic`, `source` and `parent` stand in
`images`.
"""


def _annotations(labels: np.ndarray, classes: int) -> Iterator[dict[str, Any]]:
    """Yield what COCO says of each piece of each class whose pixels touch, corners included.

    The mask is an RLE, the box [left, top, width, height] in px, the area in px.
    """
    import cv2
    from pycocotools import mask as rle

    for number in range(1, classes + 1):
        count, pieces = cv2.connectedComponents((labels == number).astype(np.uint8), connectivity=8)
        for piece in range(1, count):
            code = rle.encode(np.asfortranarray(pieces == piece, np.uint8))
            yield {
                "category_id": number,
                "segmentation": {"size": [*labels.shape], "counts": code["counts"].decode("ascii")},
                "area": int(rle.area(code)),
                "bbox": [float(part) for part in rle.toBbox(code)],
                "iscrowd": 0,
            }


def _document(items: tuple[Item, ...], classes: tuple[str, ...], title: str) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for item in items:
        labels = item.pair_set.labels(item.pair)
        height, width = labels.shape
        about = {"synthetic": item.synthetic, "source": item.pair.source, "parent": item.parent}
        image = {"id": len(images) + 1, "file_name": f"{item.id}.png", "width": width, "height": height, **about}
        images.append(image)
        for annotation in _annotations(labels, len(classes)):
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], **annotation})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"info": {"description": title}, "images": images, "annotations": annotations, "categories": categories}


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write <split>/images/<id>.png and annotations/<split>.json.

    Raises: UserError when a split is named like the folder of the annotations.
    """
    if "annotations" in bundle.splits:
        raise UserError("a split is named annotations, as the folder of COCO's annotations: rename it")
    for split, items in bundle.splits.items():
        for item in items:
            copy_pair(item, folder / split / "images", f"{item.id}.png")
        write_json(folder / "annotations" / f"{split}.json", _document(items, bundle.classes, options.name))
    write_readme(folder / "README.md", bundle, f"{options.name}: COCO", HOW)
