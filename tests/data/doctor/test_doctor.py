"""Each fault that users' folders have produces its own named finding; a clean folder produces none."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.doctor.doctor import examine, overlays
from data.doctor.faults import FAULTS
from tests.contracts.imports import ROOT
from tests.data.layouts import trees
from tests.data.pairs.encodings import bordered, classes, photo


def clean(root):
    for side, count in (("train", 5), ("test", 3)):
        for number in range(count):
            trees.save(root / f"{side}/images/{side}{number}.png", root / f"{side}/masks/{side}{number}.png")


def paths(root):
    return root / "train/images/train1.png", root / "train/masks/train1.png"


def repaint(path, change):
    with Image.open(path) as picture:
        picture.load()
        change(picture).save(path)


def lesion(root, values):
    mask = paths(root)[1]
    array = values(np.asarray(Image.open(mask)) // 255)
    Image.fromarray(array.astype(np.uint8)).save(mask)


def one_mask(root):
    masks = sorted(root.glob("*/masks/*"))
    for mask in masks[1:]:
        mask.write_bytes(masks[0].read_bytes())


def cut(root, number):
    path = paths(root)[number]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def exif_turn(root):
    image, _ = paths(root)
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(image) as picture:
        picture.save(image, exif=exif)


def jpeg_mask(root):
    mask = paths(root)[1]
    with Image.open(mask) as picture:
        picture.save(mask.with_suffix(".jpg"), quality=95)
    mask.unlink()


def cmyk(root):
    image = paths(root)[0]
    with Image.open(image) as picture:
        picture.convert("CMYK").save(image.with_suffix(".jpg"), quality=95)
    image.unlink()


def animate(root, which=0):
    image = paths(root)[which]
    with Image.open(image) as picture:
        picture.save(image.with_suffix(".tif"), save_all=True, append_images=[picture.copy()])
    image.unlink()


def rename(root, name):
    image, mask = paths(root)
    image.rename(image.with_name(f"{name}.png"))
    mask.rename(mask.with_name(f"{name}.png"))


def copy_pair(root, side, name, change=None):
    image, mask = paths(root)
    other = root / f"{side}/images/{name}.png"
    shutil.copy(image, other)
    shutil.copy(mask, root / f"{side}/masks/{name}.png")
    if change:
        repaint(other, change)


def soften(picture):
    return picture.resize((32, 32), Image.Resampling.NEAREST).resize((64, 64), Image.Resampling.BILINEAR)


def slightly_brighter(picture):
    return picture.point(lambda v: min(255, v + 3))


def film(root):
    for frame in range(6):
        trees.save(root / f"train/images/film{frame}.png", root / f"train/masks/film{frame}.png")
        base, noise = trees.draw("film")[0], np.random.default_rng(frame).normal(0, 8, (64, 64, 3))
        shade = 40 * np.outer(np.linspace(-1, 1, 64), np.ones(64))[..., None] * (frame - 3) / 12
        frame_pixels = np.clip(base + noise + shade, 0, 255).astype(np.uint8)
        Image.fromarray(frame_pixels).save(root / f"train/images/film{frame}.png")


def listed(root):
    shutil.rmtree(root)
    trees.jsonl(root)
    with (root / "prompt.json").open("a") as file:
        file.write("\n" + json.dumps({"source": "source/9.png", "target": "target/9.png", "prompt": "p"}))


def channels(root):
    shutil.rmtree(root)
    trees.nnunet(root)
    Image.fromarray(trees.draw("x")[0]).save(root / "imagesTr/CASE_Tr0_0001.png")


def shrink_both(root):
    for path in paths(root):
        repaint(path, lambda picture: picture.resize((40, 40), Image.Resampling.NEAREST))


def blend(mask):
    values = mask * 255
    values[:2] = np.arange(128).reshape(2, 64)  # many greys, as JPEG leaves them
    return values


def masks_of(root, encode):
    """Replace two masks by what `encode` makes of their lesions."""
    for number in (1, 2):
        mask = root / f"train/masks/train{number}.png"
        encode(np.asarray(Image.open(mask)) // 255, number).save(mask)


def see_through(mask, number):
    return Image.fromarray(np.dstack([trees.draw(str(number))[0], mask * np.uint8(255)]))


def halves(mask, number):
    """Return a square of two greys with smooth edges."""
    square = np.pad(np.ones((32, 32), np.uint8), 16)
    return classes(120, 255)(square, number).filter(ImageFilter.GaussianBlur(1))


def beside_each_other(_):
    """Return a square of 1 and a square of 255."""
    values = np.zeros((64, 64), np.uint8)
    values[20:40, 8:28], values[20:40, 36:56] = 1, 255
    return values


def exchange(root):
    image, mask = paths(root)
    white = np.asarray(Image.open(mask))
    ramp = np.where(white > 0, 255, np.arange(64 * 64).reshape(64, 64) % 60).astype(np.uint8)
    Image.fromarray(white).convert("RGB").save(image)
    Image.fromarray(np.where(np.arange(64) < 30, 120, ramp).astype(np.uint8)).save(mask)


def labelled(root, labels, values):
    shutil.rmtree(root)
    trees.nnunet(root)
    if labels:
        (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    mask = root / "labelsTr/CASE_Tr0.png"
    Image.fromarray(np.asarray(Image.open(mask)) * np.uint8(values)).save(mask)


def patients(root):
    for patient in (1, 2, 3):
        for number in range(2):
            name = f"p{patient:02d}_{number}"
            trees.save(root / f"train/images/{name}.png", root / f"train/masks/{name}.png")
    for path in [*root.glob("*/*/train*.png"), *root.glob("test/*/*.png")]:
        path.rename(path.with_name(f"p99_{path.name}"))


PLANTED = {
    "photo_mask": lambda root: masks_of(root, photo),
    "exchanged": exchange,
    "alpha_unclear": lambda root: masks_of(root, see_through),
    "lost_class": lambda root: lesion(root, beside_each_other),
    "grey_area": lambda root: masks_of(root, halves),
    "grey_labels": lambda root: (labelled(root, None, 255), repaint(root / "labelsTr/CASE_Tr0.png", soften)),
    "class_unknown": lambda root: labelled(root, {"background": 0, "lesion": 1}, 9),
    "ignored": lambda root: labelled(root, {"background": 0, "lesion": 1, "ignore": 2}, 2),
    "bad_labels": lambda root: labelled(root, {"background": 1, "lesion": 0}, 1),
    "void_mask": lambda root: masks_of(root, bordered),
    "group_hint": patients,
    "no_mask": lambda root: paths(root)[1].unlink(),
    "no_image": lambda root: paths(root)[0].unlink(),
    "shared_stem": lambda root: shutil.copy(paths(root)[0], paths(root)[0].with_suffix(".bmp")),
    "missing": listed,
    "unmatched": channels,
    "unread": lambda root: paths(root)[0].with_name("new.npy").write_bytes(b"x"),
    "dangling": lambda root: paths(root)[0].with_name("new.png").symlink_to("gone"),
    "other_form": lambda root: (root / "all.json").write_text('{"images": [], "annotations": [], "categories": []}'),
    "document": lambda root: paths(root)[0].with_name("notes.txt").write_text("note"),
    "zero_bytes": lambda root: paths(root)[0].write_bytes(b""),
    "not_an_image": lambda root: paths(root)[0].write_text("<html>404</html>"),
    "damaged": lambda root: cut(root, 0),
    "unreadable": lambda root: (paths(root)[0].unlink(), paths(root)[0].symlink_to("/proc/self/mem")),
    "bad_name": lambda root: rename(root, "long" * 61),
    "sixteen_bit": lambda root: Image.fromarray(np.full((64, 64), 40000, np.uint16)).save(paths(root)[0]),
    "size_mismatch": lambda root: repaint(paths(root)[1], lambda picture: picture.resize((64, 60))),
    "dim_mask": lambda root: lesion(root, lambda mask: mask * 100),
    "too_large": lambda root: Image.new("1", (13400, 13400)).save(paths(root)[0]),
    "zero_one_mask": lambda root: lesion(root, lambda mask: mask),
    "class_mask": lambda root: lesion(root, lambda mask: mask + np.pad(np.ones((4, 4)), ((0, 60), (0, 60))) * 2),
    "colour_mask": lambda root: repaint(paths(root)[1], lambda p: Image.merge("RGB", [p, p.point(lambda v: 0), p])),
    "grey_mask": lambda root: lesion(root, blend),
    "empty_mask": lambda root: lesion(root, lambda mask: mask * 0),
    "full_mask": lambda root: lesion(root, lambda mask: mask * 0 + 255),
    "outline_mask": lambda root: lesion(root, lambda mask: 255 * (mask - cv2.erode(mask, np.ones((3, 3), np.uint8)))),
    "same_mask": one_mask,
    "inverted_mask": lambda root: lesion(root, lambda mask: 255 * (1 - mask)),
    "mask_is_image": lambda root: shutil.copy(*paths(root)),
    "cmyk": cmyk,
    "alpha": lambda root: repaint(paths(root)[0], lambda picture: picture.convert("RGBA")),
    "animated": animate,
    "several_pages": lambda root: animate(root, 1),
    "tiny": shrink_both,
    "odd_name": lambda root: rename(root, "polyp no 1"),
    "same_image_across_splits": lambda root: copy_pair(root, "test", "again"),
    "near_duplicate_across_splits": lambda root: copy_pair(root, "test", "again", slightly_brighter),
    "near_duplicate": lambda root: copy_pair(root, "train", "again", slightly_brighter),
    "sequence": film,
    "exif_turned": exif_turn,
    "exif_apart": exif_turn,
    "palette": lambda root: repaint(paths(root)[0], lambda picture: picture.convert("P")),
    "lossy_mask": jpeg_mask,
    "several_masks": lambda root: shutil.copy(paths(root)[1], paths(root)[1].with_name("train1_mask_1.png")),
    "unused": lambda root: Image.new("RGB", (8, 8)).save(root / "logo.png"),
}


def codes(root):
    return {fault["code"] for fault in examine(root)[0]["faults"]}


def test_a_clean_folder_has_no_faults(tmp_path):
    clean(tmp_path)
    assert codes(tmp_path) == set()


def test_every_fault_is_planted():
    assert set(PLANTED) == set(FAULTS)
    assert len(FAULTS) >= 25


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_named_with_its_file(tmp_path, code):
    clean(tmp_path / "raw")
    PLANTED[code](tmp_path / "raw")
    result, _ = examine(tmp_path / "raw")
    found = {fault["code"]: fault for fault in result["faults"]}
    assert code in found
    assert found[code]["count"] == len(found[code]["files"]) >= 1


def test_damaged_masks_are_damaged_too(tmp_path):
    clean(tmp_path)
    cut(tmp_path, 1)
    assert "damaged" in codes(tmp_path)


def test_what_above_zero_would_do_is_measured(tmp_path):
    clean(tmp_path)
    for mask in tmp_path.glob("*/masks/*.png"):
        array = np.asarray(Image.open(mask)).copy()
        added = np.flatnonzero(array.ravel() == 0)[: int((array > 0).sum()) // 10]
        array.ravel()[added] = 50
        Image.fromarray(array).save(mask)
    values = examine(tmp_path)[0]["mask_values"]
    assert values["inflation_gt0_median_percent"] == pytest.approx(10, abs=1)


def test_overlays_show_twelve_pairs_at_most(tmp_path):
    clean(tmp_path)
    _, sources = examine(tmp_path)
    assert overlays(sources, {}).shape == (2 * 256, 4 * 256, 3)


def run(*arguments):
    command = [sys.executable, "-m", "pipeline", "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_command_prints_one_json_object_and_a_report(tmp_path):
    clean(tmp_path / "raw")
    (tmp_path / "raw/train/images/train1.png").unlink()
    shown = json.loads(run(tmp_path / "raw", "--json").stdout)
    assert {"layout", "pairs", "unmatched", "faults"} <= set(shown)
    assert (shown["layout"], shown["pairs"], shown["unmatched"]) == ("folders", 7, 1)
    text = run(tmp_path / "raw", "--out", tmp_path / "look.png").stdout
    assert "stops prepare: 1 x no_image" in text
    assert "datasets:" in text
    assert (tmp_path / "look.png").is_file()


def test_a_missing_folder_and_an_unknown_layout_end_in_a_message(tmp_path):
    for arguments in ((tmp_path / "nowhere",), (tmp_path, "--layout", "isik"), (tmp_path,)):
        done = run(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
