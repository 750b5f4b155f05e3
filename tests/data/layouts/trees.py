"""Small folders of pairs in every layout that is recognised."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from data.prepare.phantom import draw_phantom

SIZE = 64


def draw(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pair of a name or of a place, whatever the folder is called that a test was given."""
    return draw_phantom(0, name.partition("/test_")[2] or name, SIZE)


def save(image: Path, mask: Path, *, value: int = 255, **options) -> None:
    """Write one pair that depends on the image's place, so that no two are alike."""
    pixels, lesion = draw(str(image))
    for path, array in ((image, pixels), (mask, lesion * np.uint8(value))):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path, **options)


def pranet(root: Path) -> None:
    for name in ("1", "2", "cju1", "cju2", "cju3"):
        save(root / f"TrainDataset/images/{name}.png", root / f"TrainDataset/masks/{name}.png")
    for number in range(3):
        save(root / f"TestDataset/CVC-300/images/{number}.png", root / f"TestDataset/CVC-300/masks/{number}.png")
        save(root / f"TestDataset/Kvasir/images/{number}.png", root / f"TestDataset/Kvasir/masks/{number}.png")
        save(root / f"TestDataset/test/images/{number}.png", root / f"TestDataset/test/masks/{number}.png")


def isic2016(root: Path) -> None:
    for side, count in (("Training", 4), ("Test", 2)):
        for number in range(count):
            name = f"ISIC_{number:07d}"
            folder = root / f"ISBI2016_ISIC_Part1_{side}"
            save(Path(f"{folder}_Data/{name}.jpg"), Path(f"{folder}_GroundTruth/{name}_Segmentation.png"))


def isic2018(root: Path) -> None:
    for side, count in (("Training", 4), ("Validation", 1), ("Test", 2)):
        for number in range(count):
            name = f"ISIC_{number:07d}"
            image = root / f"ISIC2018_Task1-2_{side}_Input/{name}.jpg"
            save(image, root / f"ISIC2018_Task1_{side}_GroundTruth/{name}_segmentation.png")


def ph2(root: Path) -> None:
    for number in range(4):
        case = f"IMD{number:03d}"
        place = root / "PH2 Dataset images" / case
        save(place / f"{case}_Dermoscopic_Image/{case}.bmp", place / f"{case}_lesion/{case}_lesion.bmp")
        (place / f"{case}_roi").mkdir()
        Image.new("L", (8, 8)).save(place / f"{case}_roi/{case}_R1_Label.bmp")


def mvtec(root: Path) -> None:
    for defect, count in (("crack", 3), ("stain", 2)):
        for number in range(count):
            name = f"{number:03d}"
            save(root / f"tile/test/{defect}/{name}.png", root / f"tile/ground_truth/{defect}/{name}_mask.png")
    (root / "tile/test/good").mkdir()
    Image.fromarray(draw("good")[0]).save(root / "tile/test/good/000.png")


def nnunet(root: Path) -> None:
    for side, count in (("Tr", 4), ("Ts", 2)):
        for number in range(count):
            name = f"CASE_{side}{number}"
            save(root / f"images{side}/{name}_0000.png", root / f"labels{side}/{name}.png", value=1)


def jsonl(root: Path) -> None:
    lines = []
    for number in range(5):
        save(root / f"target/{number}.png", root / f"source/{number}.png")
        lines.append(
            {"source": f"source/{number}.png", "target": f"target/{number}.png", "prompt": "A photo of a polyp."}
        )
    (root / "prompt.json").write_text("\n".join(json.dumps(line) for line in lines))


def imagefolder(root: Path) -> None:
    for side, count in (("train", 4), ("test", 2)):
        lines = []
        for number in range(count):
            save(root / f"{side}/{side}{number}.png", root / f"{side}/mask-of/{number}.png")
            lines.append({"file_name": f"{side}{number}.png", "mask_file_name": f"mask-of/{number}.png"})
        (root / f"{side}/metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def medsegbench(root: Path) -> None:
    arrays = {}
    for side, count in (("train", 4), ("val", 1), ("test", 2)):
        pairs = [draw(f"{side}{number}") for number in range(count)]
        arrays[f"{side}_images"] = np.stack([image for image, _ in pairs])
        arrays[f"{side}_label"] = np.stack([mask for _, mask in pairs])
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / "kvasir_64.npz", **arrays)


def dsb(root: Path) -> None:
    for number in range(4):
        name = f"cell{number}"
        save(root / f"{name}/images/{name}.png", root / f"{name}/masks/a.png")
        other = np.zeros((SIZE, SIZE), np.uint8)
        other[:4, :4] = 255
        Image.fromarray(other).save(root / f"{name}/masks/b.png")


def folders(root: Path) -> None:
    for side, count in (("train", 4), ("valid", 1), ("test", 2)):
        for number in range(count):
            save(root / f"{side}/images/{side}{number}.jpg", root / f"{side}/masks/{side}{number}.png")


def sides_below(root: Path) -> None:
    for side, count in (("train", 4), ("test", 2)):
        for number in range(count):
            save(root / f"images/{side}/{side}{number}.png", root / f"labels/{side}/{side}{number}.png")


def clinicdb(root: Path) -> None:
    for number in range(1, 6):
        save(root / f"Original/{number}.tif", root / f"Ground Truth/{number}.tif")


def busi(root: Path) -> None:
    for kind in ("benign", "malignant"):
        for number in range(1, 4):
            save(root / kind / f"{kind} ({number}).png", root / kind / f"{kind} ({number})_mask.png")
    more = np.zeros((SIZE, SIZE), np.uint8)
    more[:4, :4] = 255
    Image.fromarray(more).save(root / "benign/benign (1)_mask_1.png")


# tree -> layout that it is, pairs by split of the layout
TREES = {
    pranet: ("pranet", {"train": 5, "cvc-300": 3, "kvasir": 3}),
    isic2016: ("isic", {"train": 4, "test": 2}),
    isic2018: ("isic", {"train": 4, "val": 1, "test": 2}),
    ph2: ("ph2", {"": 4}),
    mvtec: ("mvtec", {"": 5}),
    nnunet: ("nnunet", {"train": 4, "test": 2}),
    jsonl: ("jsonl", {"": 5}),
    imagefolder: ("imagefolder", {"train": 4, "test": 2}),
    medsegbench: ("medsegbench", {"train": 4, "val": 1, "test": 2}),
    dsb: ("dsb", {"": 4}),
    folders: ("folders", {"train": 4, "val": 1, "test": 2}),
    sides_below: ("folders", {"train": 4, "test": 2}),
    clinicdb: ("folders", {"": 5}),
    busi: ("beside", {"": 6}),
}
