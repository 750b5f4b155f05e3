"""COCO files: polygons, run lengths, several classes, and every image or outline that cannot be used by name."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from data.doctor.doctor import examine
from data.layouts.layouts import find
from data.mask_files.read import Reading
from data.pairs.errors import UserError
from data.pairs.image_io import BadImageError
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from data.readers.reading import read_source
from tests.data.layouts.trees import draw


def masks_of(count: int) -> dict[str, np.ndarray]:
    return {f"{number}.png": draw(str(number))[1] for number in range(count)}


def compressed(mask: np.ndarray) -> dict:
    code = rle.encode(np.asfortranarray(mask))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def write(root, outlines: dict[str, list[dict]], name: str = "all.json", **changes) -> dict:
    """Write images and a COCO file; outlines are annotations by file name, image ids begin with 0."""
    content: dict = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "polyp"}, {"id": 3, "name": "tool"}],
    }
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number, (file, annotations) in enumerate(outlines.items()):
        Image.fromarray(draw(file.removesuffix(".png"))[0]).save(root / "images" / file)
        content["images"].append({"id": number, "file_name": file, "width": 64, "height": 64})
        for annotation in annotations:
            content["annotations"].append({"id": len(content["annotations"]), "image_id": number, **annotation})
    content |= changes
    (root / name).write_text(json.dumps(content))
    return content


def outline(mask: np.ndarray, code=compressed, category: int = 1, **more) -> dict:
    return {"category_id": category, "segmentation": code(mask), **more}


@pytest.mark.parametrize("code", [compressed, uncompressed])
@pytest.mark.parametrize("crowd", [0, 1])
def test_run_lengths_are_masks_to_the_pixel(code, crowd, tmp_path):
    masks = masks_of(4)
    write(tmp_path, {name: [outline(mask, code, iscrowd=crowd)] for name, mask in masks.items()})
    found = find(tmp_path)
    assert (found.layout, found.unmatched, dict(found.classes)) == ("coco", [], {})
    for source in found.sources:
        assert np.array_equal(read_source(source, Reading(0))[1], masks[source.image.name])


def test_polygons_of_one_image_are_joined(tmp_path):
    square = [[8, 8, 16, 8, 16, 16, 8, 16], [40, 40, 50, 40, 50, 50, 40, 50]]
    write(tmp_path, {"0.png": [{"category_id": 1, "segmentation": square}], "1.png": [outline(draw("1")[1])]})
    mask = read_source(find(tmp_path).sources[0], Reading(0))[1]
    assert mask.sum() == 8 * 8 + 10 * 10
    assert mask[8:16, 8:16].all()
    assert mask[40:50, 40:50].all()


def test_several_classes_are_kept_apart_or_merged_as_the_row_says(tmp_path):
    polyp, tool = np.zeros((2, 64, 64), np.uint8)
    polyp[10:30, 10:30] = tool[20:40, 20:40] = 1
    write(tmp_path / "raw", {f"{n}.png": [outline(tool, category=3), outline(polyp)] for n in range(4)})
    found = find(tmp_path / "raw")
    assert dict(found.classes) == {"polyp": 1, "tool": 2}
    labels = read_source(found.sources[0], Reading(0, classes=(1, 2)))[1]
    assert (labels[12, 12], labels[25, 25], labels[35, 35], labels[5, 5]) == (1, 2, 2, 0)
    assert read_source(found.sources[0], Reading(0))[1].sum() == 400 + 400 - 100
    printed = examine(tmp_path / "raw")[0]["row"]
    assert (printed["layout"], printed["classes"]) == ("coco", {"polyp": 1, "tool": 2})
    sets = prepare(FolderDataset.model_validate_json(json.dumps({**printed, "size_px": 64})), tmp_path / "out")
    assert set(np.unique(sets["train"].labels(sets["train"].pairs[0]))) == {0, 1, 2}
    with pytest.raises(BadImageError, match=r"all\.json: has .* pixels of no class, such as \[2\]"):
        read_source(found.sources[0], Reading(0, classes=(1,)))


def test_all_that_cannot_be_used_is_named_at_once(tmp_path):
    mask = draw("0")[1]
    content = write(tmp_path, {f"{n}.png": [outline(mask)] for n in range(3)} | {"3.png": []})
    content["images"].append({"id": 8, "file_name": "gone.png", "width": 64, "height": 64})
    content["images"].append({"id": 9, "file_name": "0.png", "width": 64, "height": 64})
    more = [
        {"id": 50, "image_id": 77, "category_id": 1, "segmentation": [[1, 1, 5, 5, 1, 5]]},
        {"id": 51, "image_id": 0, "category_id": 1, "segmentation": [], "bbox": [1, 1, 5, 5]},
        {"id": 52, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 5, 5]]},
        {"id": 53, "image_id": 9, "category_id": 1, "segmentation": [[1, 1, 5, 5, 1, 5]]},
    ]
    content["annotations"] += more
    (tmp_path / "all.json").write_text(json.dumps(content))
    lines = [line.replace(f"{tmp_path}/", "") for line in find(tmp_path).unmatched]
    assert lines == [
        "all.json: annotation 50 is of image 77, which the file does not list",
        "all.json: annotation 51 has no outline that can be read: polygons or run lengths are needed, not boxes",
        "all.json: annotation 52 has no outline that can be read: polygons or run lengths are needed, not boxes",
        "images/3.png: has no mask, for all.json has no outline of it",
        "gone.png: named in all.json, but is not there",
        "images/0.png: stands twice in all.json",
    ]


def test_sizes_that_differ_are_named(tmp_path):
    content = write(tmp_path, {f"{n}.png": [outline(draw(str(n))[1])] for n in range(4)})
    content["images"][0]["height"] = 60
    small = compressed(np.ones((60, 64), np.uint8))
    content["annotations"][1]["segmentation"] = small
    content["annotations"][2]["segmentation"] = {"size": [64, 64], "counts": [5, 5]}
    (tmp_path / "all.json").write_text(json.dumps(content))
    faults = {fault["code"]: fault["files"] for fault in examine(tmp_path)[0]["faults"]}
    assert faults["size_mismatch"] == [f"{tmp_path}/images/0.png: is 64x64 but 64x60 in all.json"]
    assert "1.png: an outline in all.json cannot be read (its size is [60, 64]" in faults["damaged"][0]
    assert "2.png: an outline in all.json cannot be read (its run lengths add up to 10" in faults["damaged"][1]


def test_run_lengths_and_names_that_cannot_be_are_named(tmp_path):
    content = write(tmp_path, {f"{n}.png": [outline(draw(str(n))[1])] for n in range(3)})
    content["annotations"][0]["segmentation"] = {"size": [64, 64], "counts": [-4, 4100]}
    content["images"][1]["file_name"] = long = "a" * 400 + ".png"
    (tmp_path / "all.json").write_text(json.dumps(content))
    found = find(tmp_path)
    assert found.unmatched == [f"{tmp_path}/{long}: named in all.json, but is not there"]
    with pytest.raises(BadImageError, match=r"0.png: an outline in all.json cannot be read \(its run lengths hold -4"):
        read_source(found.sources[0], Reading(0))
    assert read_source(found.sources[1], Reading(0))[1].any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"images": [{"id": 1, "file_name": "0.png"}]}, "KeyError: 'width'"),
        ({"annotations": [{"image_id": 1}]}, "KeyError: 'category_id'"),
        ({"categories": [{"id": "x", "name": "y"}]}, "ValueError"),
        ({"images": 5, "annotations": [{"image_id": 0}]}, "TypeError"),
        (
            {"images": [{"id": [1], "file_name": "0.png", "width": 64, "height": 64}]},
            "image 0.png: its id is [1], and a number or a text is needed",
        ),
        ({"annotations": [{"id": 7, "image_id": [1], "category_id": 1}]}, "annotation 7: its image_id is [1]"),
        ({"annotations": [{"image_id": 0, "category_id": {}}]}, "annotation ?: its category_id is {}"),
        ({"images": [{"id": 1, "file_name": "0.png", "width": float("inf"), "height": 64}]}, "OverflowError"),
    ],
)
def test_a_file_that_is_no_coco_after_all_says_why(change, text, tmp_path):
    write(tmp_path, {"0.png": [outline(draw("0")[1])]}, **change)
    with pytest.raises(UserError, match=r"all.json: is no COCO file that can be read") as caught:
        find(tmp_path)
    assert text in str(caught.value)


def test_names_that_stand_for_several_files_are_told_apart_by_the_split_or_named(tmp_path):
    for side in ("train", "val"):
        write(tmp_path, {f"{n}.png": [outline(draw(str(n))[1])] for n in range(2)}, f"{side}.json")
        (tmp_path / "images").rename(tmp_path / side)
    found = find(tmp_path)
    assert [(s.split, s.image.parent.name) for s in found.sources] == [("train", "train")] * 2 + [("val", "val")] * 2
    (tmp_path / "train.json").rename(tmp_path / "x.json")
    (tmp_path / "val.json").unlink()
    with pytest.raises(UserError, match=r"0.png: named in x.json, but stands for several files: "):
        find(tmp_path, "coco")


def test_categories_that_mean_something_else_in_another_file_are_named(tmp_path):
    for side, name in (("train", "polyp"), ("val", "ulcer")):
        content = write(tmp_path, {f"{side}{n}.png": [outline(draw(str(n))[1])] for n in range(2)}, f"{side}.json")
        content["categories"] = [{"id": 1, "name": name}]
        (tmp_path / f"{side}.json").write_text(json.dumps(content))
    assert find(tmp_path).unmatched == [f"{tmp_path}/val.json: category 1 is ulcer, in another file polyp"]
