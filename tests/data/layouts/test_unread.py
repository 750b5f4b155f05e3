"""Whatever lies among images and masks is read, a known by-product, or named: by the doctor, and by prepare."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.doctor.doctor import examine
from data.layouts.layouts import find
from data.layouts.leftovers import BY_PRODUCT_FOLDERS
from data.pairs.errors import UserError
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from tests.data.layouts import trees


def row(path, **changes):
    base = {"kind": "folder", "path": str(path), "size_px": 32, "prompt": "p", "splits": {"train": 0.5, "test": 0.5}}
    return FolderDataset(**{**base, **changes})


@pytest.fixture
def six(tmp_path):
    for number in range(6):
        trees.save(tmp_path / f"raw/images/{number}.png", tmp_path / f"raw/masks/{number}.png")
    return tmp_path / "raw"


def faults(root) -> dict[str, list[str]]:
    return {fault["code"]: fault["files"] for fault in examine(root)[0]["faults"]}


def rename(root, ending: str, stem: str = "9", *, kind: str = "PNG") -> None:
    """Add a pair whose two files are written as `kind` and named with another ending."""
    image, mask = trees.draw(stem)
    for folder, array in (("images", image), ("masks", mask * np.uint8(255))):
        with (root / folder / f"{stem}{ending}").open("wb") as file:
            Image.fromarray(array).save(file, kind)


READ = {
    ".jfif": "JPEG", ".jpe": "JPEG", ".JPG": "JPEG", ".Jpeg": "JPEG", ".webp": "WEBP", ".TIF": "TIFF", ".tiff": "TIFF",
    ".PNG": "PNG", ".dib": "DIB", ".tga": "TGA", ".pcx": "PCX", ".ppm": "PPM", ".GIF": "GIF", ".BMP": "BMP",
}  # fmt: skip


@pytest.mark.parametrize("ending", READ)
def test_endings_that_can_be_read_are(six, ending):
    rename(six, ending, kind=READ[ending])
    found = find(six)
    assert len(found.sources) == 7
    assert found.unmatched == []


# what is added in images/ and in masks/ -> part of the line that names it
NAMED = {
    "9": "holds a picture (png) but is not named as one that can be read: rename it to 9.png",
    "9.": "rename it to 9.png",
    "9.dat": "rename it to 9.png",
    "9.png.bak": "backup copy",
    "9.png~": "backup copy",
    "9.png.part": "unfinished copy",
    "9.png ": "rename it to 9.png",
    ".9.png": "it is hidden, for its name begins with a dot",
    "9.npy": "array file; save each image and each mask as PNG",
    "9.mat": "MATLAB file",
    "9.nii.gz": "NIfTI volume; name `images`, `masks` and `slices`",
    "9.nii": "NIfTI volume",
    "9.dcm": "DICOM file",
    "9.svs": "whole-slide image",
    "9.ndpi": "whole-slide image",
    "9.mha": "convert it to NIfTI",
    "9.nrrd": "convert it to NIfTI",
    "9.zip": "archive; unpack it here",
    "9.heic": "camera picture",
    "9.psd": "drawing",
    "9.mp4": "video",
    "9.h5": "data base",
    "9.xyz": "its ending is '.xyz'",
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_read_is_named_with_its_ending_and_stops_prepare(six, name, tmp_path):
    text = NAMED[name]
    for folder in ("images", "masks"):
        content = b"no picture" if name == "9.xyz" else (six / folder / "0.png").read_bytes()
        (six / folder / name).write_bytes(content)
    files = faults(six)["unread"]
    assert len(files) == 2
    assert all(text in line for line in files), files
    with pytest.raises(UserError, match="2 problems") as caught:
        prepare(row(six), tmp_path / "out")
    assert all(f"{six / folder / name}: " in str(caught.value) for folder in ("images", "masks"))


def test_an_image_alone_in_another_form_is_named(six):
    (six / "images/9.dcm").write_bytes(b"\0" * 200)
    (six / "masks/9.png").write_bytes((six / "masks/0.png").read_bytes())
    found = faults(six)
    assert found["no_image"] == [f"{six / 'masks/9.png'}: has no image"]
    assert "9.dcm: is not read: DICOM file" in found["unread"][0]


LINKS = {
    "dangling": lambda place: (place / "9.png").symlink_to("/nowhere/9.png"),
    "dangling without ending": lambda place: (place / "9").symlink_to("gone"),
    "to itself": lambda place: (place / "9.png").symlink_to("9.png"),
    "to the folder above": lambda place: (place / "9").symlink_to(place.parent),
    "to an empty folder": lambda place: (place / "9").symlink_to("../../empty"),
    "folder named as a picture": lambda place: (place / "9.png").mkdir(),
    "pipe": lambda place: os.mkfifo(place / "9.png"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINKS)
def test_what_stands_in_the_place_of_a_file_is_named(six, case, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("images", "masks"):
        LINKS[case](six / folder)
    found = find(six)
    assert len(found.sources) == 6
    assert len(found.unmatched) == 2, found.unmatched
    with pytest.raises(UserError, match="2 problems"):
        prepare(row(six), tmp_path / "out")


def test_links_that_lead_to_pictures_are_read(six, tmp_path):
    shutil.move(six / "images/0.png", tmp_path / "0.png")
    (six / "images/0.png").symlink_to(tmp_path / "0.png")
    shutil.move(six / "masks", tmp_path / "elsewhere")
    (six / "masks").symlink_to(tmp_path / "elsewhere")
    found = find(six)
    assert (len(found.sources), found.unmatched) == (6, [])


SILENT = [
    ".DS_Store", "Thumbs.db", "thumbs.db", "desktop.ini", "._9.png", "._.DS_Store", ".gitkeep", ".gitignore", "README",
    "README.txt", "readme.md", "LICENSE", "LICENCE.txt", "license-CC0.txt", "CITATION.cff", "images.dvc", ".directory",
]  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_by_products_are_silent(six, name, tmp_path):
    for folder in ("images", "masks"):
        (six / folder / name).write_bytes(b"Mac OS X")
    assert faults(six) == {}
    prepare(row(six), tmp_path / "out")


@pytest.mark.parametrize("name", sorted(BY_PRODUCT_FOLDERS))
def test_folders_of_by_products_are_silent(six, name):
    (six / "images" / name).mkdir()
    (six / "images" / name / "9.png").write_bytes(b"x")
    assert find(six).unmatched == []


DOCUMENTS = ["notes.txt", "list.csv", "table.xlsx", "report.pdf", "classes.json", "7.xml", "run.log", "make.py"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_texts_beside_are_told_and_stop_nothing(six, name, tmp_path, capsys):
    (six / "images" / name).write_text("hello")
    assert faults(six)["document"][0].startswith(f"{six / 'images' / name}: is not read")
    prepare(row(six), tmp_path / "out")
    assert f"1 files are not read\n{six / 'images' / name}: " in capsys.readouterr().err


FORMS = {
    "9.json": (json.dumps({"version": "5", "shapes": [{"points": [[1, 2]]}], "imagePath": "9.png"}), "labelme file"),
    "studio.json": (
        json.dumps([{"id": 1, "annotations": [{"result": [{"from_name": "tag", "value": {"rle": [0, 1]}}]}]}]),
        "Label Studio file",
    ),
    "9.png.json": (
        json.dumps({"size": {"height": 9, "width": 9}, "objects": [{"classTitle": "polyp", "geometryType": "bitmap"}]}),
        "Supervisely file",
    ),
    "all.json": (json.dumps({"images": [{"file_name": "9.png"}], "annotations": [], "categories": []}), "COCO file"),
    "9.txt": ("0 0.1 0.2 0.3 0.4 0.5 0.6\n1 0.1 0.2 0.3 0.4\n", "YOLO label file"),
    "train.csv": ("ImageId,EncodedPixels\n9.png,1 3 10 5\n", "table of run lengths"),
    "9.xml": ("<annotation><object><bndbox/></object></annotation>", "file of boxes or outlines"),
    "via.json": (json.dumps({"_via_settings": {}}), "VIA or GeoJSON file"),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("place", [".", "labels"])
def test_other_forms_are_named_as_what_they_are(six, name, place, tmp_path):
    text, what = FORMS[name]
    (six / place).mkdir(exist_ok=True)
    (six / place / name).write_text(text)
    assert f"{six / place / name}: is not read: {what}; " in faults(six)["other_form"][0]
    prepare(row(six), tmp_path / "out")


ODD = [
    "a b", "ä", "e\u0301", "\u70b9", "\u202ename", "a.b", "a.png", "a.png.png", "-a", "--", "a..", "a..b", "  a", "a ",
    "#1", "%20", "a'b", 'a"b', "a,b", "a;b", "$HOME", "~", "a\tb", "(1)", "[1]", "{id}", "*", "?", "CON", "NUL",
    "\U0001f600", "\u200b", "\ufb01", "ß", "\u01c5", "İ", "a+b", "a=b", "=1+1", "@", "a&b", "<b>", "a|b", "0001",
    "1e5", "None", "null", "_", "__", "a_mask", "mask", "mask_1", "image", "image_1", "p1", "x_gt_1", "IMG", "a" * 100,
]  # fmt: skip


@pytest.mark.parametrize("stem", ODD)
def test_odd_names_pair_up_or_are_named(six, stem, tmp_path):
    for folder in ("images", "masks"):
        shutil.copy(six / folder / "0.png", tmp_path / f"{folder}.png")
        (six / folder / "0.png").rename(six / folder / f"{stem}.png")
    found = find(six)
    if len(found.sources) == 6:
        assert found.unmatched == []
        assert {s.image.stem for s in found.sources} == {"1", "2", "3", "4", "5", stem}
        assert all(s.image.name == s.masks[0].name for s in found.sources)
    else:
        assert sum(f"/{stem}.png: " in line for line in found.unmatched) == 2


def test_capitals_do_not_part_a_pair_unless_they_would_join_the_wrong_ones(six):
    (six / "images/0.png").rename(six / "images/Scan_A.PNG")
    (six / "masks/0.png").rename(six / "masks/scan_a.png")
    found = find(six)
    assert (len(found.sources), found.unmatched) == (6, [])
    shutil.copy(six / "images/1.png", six / "images/SCAN_A.png")
    lines = find(six).unmatched
    assert sorted(line.rsplit("/", 1)[1] for line in lines) == [
        "SCAN_A.png: has no mask", "Scan_A.PNG: has no mask", "scan_a.png: has no image",
    ]  # fmt: skip


def test_accents_written_in_two_ways_are_two_files_of_one_name(six):
    for folder in ("images", "masks"):
        for stem in ("\u00e9", "e\u0301"):
            shutil.copy(six / folder / "0.png", six / folder / f"{stem}.png")
    assert sum("shares its stem" in line for line in find(six).unmatched) == 2


def test_two_folders_whose_names_differ_in_capitals_are_named(six):
    trees.save(six / "Images/7.png", six / "Masks/7.png")
    assert sum("has this name in other capitals" in line for line in find(six).unmatched) == 2


def test_pairs_far_below_are_found(tmp_path):
    trees.save(tmp_path / "images/a/b/c/d/e/0.png", tmp_path / "masks/a/b/c/d/e/0.png")
    trees.save(tmp_path / "sites/x/y/z/v/images/1.png", tmp_path / "sites/x/y/z/v/masks/1.png")
    found = find(tmp_path)
    assert ({s.image.stem for s in found.sources}, found.unmatched) == ({"0", "1"}, [])


def test_further_masks_and_images_without_any_are_told(six):
    trees.save(six / "unlabelled/images/7.png", six / "fov/8.png")
    assert sorted(Path(line.split(": ")[0]).name for line in faults(six)["unused"]) == ["7.png", "8.png"]


NAMES = st.sampled_from(["0", "1", "a", "A", "é", "a.png", "mask", "img1", "p1", "1_mask", "a_seg", ".h", "x "])
ENDINGS = st.sampled_from([".png", ".PNG", ".bmp", ".jfif", "", ".npy", ".txt", ".tif"])
PLACES = st.sampled_from(
    ["images", "masks", ".", "train/images", "train/masks", "images/x", "masks/x", "GT", "case", "o"]
)


@settings(max_examples=80, deadline=None)
@given(st.sets(st.tuples(PLACES, NAMES, ENDINGS), min_size=2, max_size=14))
def test_in_any_tree_every_picture_is_in_a_pair_or_named(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("tree")
    for place, name, ending in files:
        (root / place).mkdir(parents=True, exist_ok=True)
        if name + ending:
            Image.new("L", (4, 4)).save((root / place / f"{name}{ending}").open("wb"), "PNG")
    written = {path for path in root.rglob("*") if path.is_file() and path.suffix != ".txt"}
    found, refused = None, ""
    try:
        found = find(root)
    except UserError as error:
        refused = str(error)
    if found is None:  # its survey counts what is there
        assert "holds no pairs" in refused
        assert all(path.suffix in refused or path.suffix == ".npy" for path in written)
        return
    used = [path for source in found.sources for path in (source.image, *source.masks)]
    images = [source.image for source in found.sources]
    assert len(images) == len(set(images))
    assert not set(images) & {path for source in found.sources for path in source.masks}
    lines = [*found.unmatched, *(line for _, line in found.unused)]
    for path in written - set(used):
        assert any(line.startswith(f"{path}: ") for line in lines), (path, lines)
