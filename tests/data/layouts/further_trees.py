"""Small folders of pairs under further names that users have: of UNet++, VOC, mmseg, labelme, COCO and others."""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.data.layouts.trees import draw, save


def unet_plus_plus(root: Path) -> None:
    for number in range(4):
        save(root / f"images/{number}.png", root / f"masks/0/{number}.png")


def mmsegmentation(root: Path) -> None:
    for side, count in (("train", 4), ("val", 2)):
        for number in range(count):
            save(root / f"img_dir/{side}/{side}{number}.jpg", root / f"ann_dir/{side}/{side}{number}.png")


def input_target(root: Path) -> None:
    for number in range(4):
        save(root / f"input/{number}.png", root / f"target/{number}.png")


def frames_gt(root: Path) -> None:
    for number in range(4):
        save(root / f"Frames/{number:03d}.png", root / f"GT/{number:03d}.png")


def sides_in_names(root: Path) -> None:
    for side, count in (("train", 4), ("val", 1), ("test", 2)):
        for number in range(count):
            save(root / f"{side}_images/{side}{number}.png", root / f"{side}_masks/{side}{number}.png")


def carvana(root: Path) -> None:
    for side, count in (("train", 4), ("test", 2)):
        for number in range(count):
            save(root / f"{side}/{side}{number}.jpg", root / f"{side}_masks/{side}{number}_mask.gif")


def camvid(root: Path) -> None:
    for side, count in (("train", 4), ("val", 1), ("test", 2)):
        for number in range(count):
            save(root / f"{side}/{side}{number}.png", root / f"{side}annot/{side}{number}.png")


def cases(root: Path) -> None:
    for number in range(4):
        save(root / f"case{number}/image.png", root / f"case{number}/mask.png")


def labelme_folders(root: Path) -> None:
    for number in range(4):
        place = root / f"{number}_json"
        save(place / "img.png", place / "label.png")
        (place / "label_viz.png").write_bytes((place / "img.png").read_bytes())
        (place / "label_names.txt").write_text("_background_\npolyp\n")


def colon_db(root: Path) -> None:
    for number in range(1, 5):
        save(root / f"{number}.bmp", root / f"p{number}.bmp")


def p_in_folders(root: Path) -> None:
    for number in range(1, 5):
        save(root / f"images/{number}.png", root / f"masks/p{number}.png")


def words_in_front(root: Path) -> None:
    for number in range(1, 12):
        save(root / f"img{number}.png", root / f"mask{number}.png")


def words_in_folders(root: Path) -> None:
    for number in range(1, 5):
        save(root / f"images/img{number}.png", root / f"masks/mask{number}.png")


def other_numbers(root: Path) -> None:
    for number in range(1, 5):
        save(root / f"images/frame_{number:04d}.png", root / f"masks/poly_{number}.png")


def other_capitals(root: Path) -> None:
    for number in range(4):
        save(root / f"images/IMG_{number}a.JPG", root / f"masks/img_{number}a.PNG")


def voc(root: Path) -> None:
    place = root / "VOCdevkit/VOC2012"
    sides = {"train": ["a0", "a1", "a2"], "val": ["b0", "b1"]}
    for name in (name for names in sides.values() for name in names):
        save(place / f"JPEGImages/{name}.jpg", place / f"SegmentationClass/{name}.png")
        (place / "SegmentationObject").mkdir(exist_ok=True)
        Image.fromarray(draw(name)[1]).save(place / f"SegmentationObject/{name}.png")
    Image.fromarray(draw("only boxes")[0]).save(place / "JPEGImages/c0.jpg")
    (place / "ImageSets/Segmentation").mkdir(parents=True)
    for side, names in (*sides.items(), ("trainval", [*sides["train"], *sides["val"]])):
        (place / f"ImageSets/Segmentation/{side}.txt").write_text("\n".join(names) + "\n")


def polygon(mask: np.ndarray) -> list[list[int]]:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [[int(part) for part in outline.ravel()] for outline in outlines if len(outline) > 2]


def coco_content(images: dict[str, np.ndarray], first_id: int = 1) -> dict:
    """Return a COCO file with one polygon outline an image; images maps file names to masks in {0, 1}."""
    content: dict = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "polyp"}]}
    for number, (name, mask) in enumerate(images.items(), first_id):
        content["images"].append({"id": number, "file_name": name, "width": mask.shape[1], "height": mask.shape[0]})
        annotation = {"id": number, "image_id": number, "category_id": 7, "iscrowd": 0, "segmentation": polygon(mask)}
        content["annotations"].append(annotation)
    return content


def coco(root: Path) -> None:
    for side, count in (("train", 4), ("val", 2)):
        masks = {}
        for number in range(count):
            image, masks[f"{side}{number}.jpg"] = draw(f"{side}{number}")
            (root / f"{side}2017").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / f"{side}2017/{side}{number}.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{side}2017.json").write_text(json.dumps(coco_content(masks)))


def roboflow(root: Path) -> None:
    for side, count in (("train", 4), ("valid", 1), ("test", 2)):
        masks = {}
        for number in range(count):
            image, masks[f"{side}{number}.jpg"] = draw(f"{side}{number}")
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / f"{side}/{side}{number}.jpg")
        content = coco_content(masks)
        content["categories"].insert(0, {"id": 0, "name": "polyps", "supercategory": "none"})
        (root / f"{side}/_annotations.coco.json").write_text(json.dumps(content))


# tree -> layout that it is, pairs by split of the layout
TREES = {
    unet_plus_plus: ("folders", {"": 4}),
    mmsegmentation: ("folders", {"train": 4, "val": 2}),
    input_target: ("folders", {"": 4}),
    frames_gt: ("folders", {"": 4}),
    sides_in_names: ("folders", {"train": 4, "val": 1, "test": 2}),
    carvana: ("folders", {"train": 4, "test": 2}),
    camvid: ("folders", {"train": 4, "val": 1, "test": 2}),
    cases: ("cases", {"": 4}),
    labelme_folders: ("cases", {"": 4}),
    colon_db: ("beside", {"": 4}),
    p_in_folders: ("folders", {"": 4}),
    words_in_front: ("beside", {"": 11}),
    words_in_folders: ("folders", {"": 4}),
    other_numbers: ("folders", {"": 4}),
    other_capitals: ("folders", {"": 4}),
    voc: ("voc", {"train": 3, "val": 2}),
    coco: ("coco", {"train": 4, "val": 2}),
    roboflow: ("coco", {"train": 4, "val": 1, "test": 2}),
}
