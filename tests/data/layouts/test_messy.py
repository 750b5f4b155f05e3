"""Folders that a reviewer found to be read wrongly or dropped without a word: each is a case that was mended."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.layouts.layouts import find
from data.pairs.errors import UserError
from data.pairs.files import whole_folder
from data.prepare.config import FolderDataset
from data.prepare.likeness import near_duplicates
from data.prepare.prepare import prepare
from tests.contracts.imports import ROOT
from tests.data.layouts import trees
from tests.data.prepare.test_prepare import labels_of, row, save, video


def pairs(root, names, images="images", masks="masks"):
    for name in names:
        trees.save(root / images / f"{name}.png", root / masks / f"{name}.png")


def examined(root):
    result, _ = examine(root)
    if result["row"]:
        FolderDataset.model_validate_json(json.dumps(result["row"]))  # the row that is printed is always valid
    return result, {fault["code"]: fault for fault in result["faults"]}


def test_groups_are_looked_for_in_the_names_that_files_have(tmp_path):
    for site in ("a", "b"):
        pairs(tmp_path / site, [f"patient{number}_{frame}" for number in range(3) for frame in range(2)])
    sets = prepare(row(tmp_path, group=r"^(patient\d+)_"), tmp_path / "out")
    homes = {split: {pair.group for pair in found.pairs} for split, found in sets.items()}
    assert homes["train"] | homes["test"] == {"patient0", "patient1", "patient2"}
    assert homes["train"] & homes["test"] == set()


@pytest.mark.parametrize("pattern", [r"^(case\d+)", r"^(x)?patient", r"(z*)"])
def test_a_group_that_finds_nothing_is_a_problem(pattern, tmp_path):
    pairs(tmp_path, ["patient0_0", "patient1_0", "patient2_0"])
    with pytest.raises(UserError, match="finds nothing in 3 of 3 ids, such as patient0_0"):
        prepare(row(tmp_path, group=pattern), tmp_path / "out")


def test_ids_that_are_the_same_in_two_sites_stay_apart(tmp_path):
    for site in ("siteA", "siteB"):
        pairs(tmp_path / site / "train", ["0", "1"])
        pairs(tmp_path / site / "test", ["2"])
    sets = prepare(row(tmp_path, splits={"train": "train", "test": "test"}), tmp_path / "out")
    ids = [pair.id for pair in sets["train"].pairs]
    assert ids == ["siteA-train-0", "siteA-train-1", "siteB-train-0", "siteB-train-1"]


def test_two_masks_of_one_image_in_a_list_are_merged(tmp_path):
    trees.jsonl(tmp_path)
    mask = np.zeros((64, 64), np.uint8)
    mask[:4, :4] = 255
    Image.fromarray(mask).save(tmp_path / "source/more.png")
    with (tmp_path / "prompt.json").open("a") as file:
        file.write("\n" + json.dumps({"source": "source/more.png", "target": "target/0.png", "prompt": "p"}))
        file.write("\n" + json.dumps({"target": "target/0.png"}) + "\nno json\n")
    found = find(tmp_path)
    assert [len(source.masks) for source in found.sources] == [2, 1, 1, 1, 1]
    assert [line.split(": ")[1] for line in found.unmatched] == [
        "entry 7 names no target or no source", "entry 8 names no target or no source",
    ]  # fmt: skip


def test_sides_of_a_list_have_the_usual_names_and_files_outside_are_told(tmp_path):
    trees.jsonl(tmp_path / "far")
    (tmp_path / "here").mkdir()
    lines = [
        {"source": f"../far/source/{n}.png", "target": f"../far/target/{n}.png", "split": side}
        for n, side in enumerate(("training", "training", "validation", "testing"))
    ]
    (tmp_path / "here/list.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    found = find(tmp_path / "here")
    assert sorted(source.split for source in found.sources) == ["test", "train", "train", "val"]
    assert found.notes[0].startswith(f"4 images lie outside {tmp_path / 'here'}: DVC does not see when they change")


def test_images_without_counterparts_in_folders_below_are_named(tmp_path):
    pairs(tmp_path, ["a", "b"], "images/train", "masks/train")
    pairs(tmp_path, ["c"], "images/train/day1", "masks/train/day1")
    pairs(tmp_path, ["d"], "images/test", "elsewhere")
    found = find(tmp_path)
    assert {source.id: source.split for source in found.sources} == {"a": "train", "b": "train", "c": "train"}
    assert [line.rsplit("/", 1)[1] for line in found.unmatched] == ["d.png: has no mask"]


def test_pictures_beside_and_cases_without_any_mask_are_named(tmp_path):
    trees.busi(tmp_path / "busi")
    Image.fromarray(trees.draw("n")[0]).save(tmp_path / "busi/normal.png")
    assert find(tmp_path / "busi").unmatched[0].endswith("normal.png: has no mask")
    trees.dsb(tmp_path / "dsb")
    (tmp_path / "dsb/lone/images").mkdir(parents=True)
    Image.fromarray(trees.draw("n")[0]).save(tmp_path / "dsb/lone/images/lone.png")
    assert find(tmp_path / "dsb").unmatched[0].endswith("lone.png: has no mask")


def test_ppm_is_read_and_nothing_found_tells_what_came_nearest(tmp_path):
    trees.save(tmp_path / "a/images/im1.ppm", tmp_path / "a/masks/im1.pgm")
    assert len(find(tmp_path / "a").sources) == 1
    pairs(tmp_path / "b", ["x"])
    (tmp_path / "b/masks/x.png").rename(tmp_path / "b/masks/other.png")
    with pytest.raises(UserError, match=r"x.png: has no mask"):
        find(tmp_path / "b")


DRIVE = ("21_training", "22_training"), ("21_manual1", "22_manual1")
WORDS = ("image_1", "image_2"), ("mask_1", "mask_2")


@pytest.mark.parametrize(("images", "masks"), [DRIVE, WORDS])
def test_names_that_differ_in_a_word_pair_up_as_in_drive(images, masks, tmp_path):
    for image, mask in zip(images, masks, strict=True):
        trees.save(tmp_path / f"images/{image}.tif", tmp_path / f"1st_manual/{mask}.gif")
    found = find(tmp_path)
    assert [(s.image.stem, s.masks[0].stem) for s in found.sources] == list(zip(images, masks, strict=True))


def test_accents_of_macos_are_those_of_others(tmp_path):
    trees.save(tmp_path / "images/e\u0301te\u0301.png", tmp_path / "masks/\u00e9t\u00e9.png")
    assert [source.id for source in find(tmp_path).sources] == ["\u00e9t\u00e9"]


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    pairs(tmp_path / "set", ["a", "b"])
    os.symlink(tmp_path / "set", tmp_path / "set/self")
    assert len(find(tmp_path / "set").sources) == 2


def test_superpixels_of_isic_2017_are_no_images(tmp_path):
    for number in range(2):
        image = tmp_path / f"ISIC-2017_Training_Data/ISIC_{number}.jpg"
        trees.save(image, tmp_path / f"ISIC-2017_Training_Part1_GroundTruth/ISIC_{number}_segmentation.png")
        Image.new("RGB", (8, 8)).save(image.with_name(f"ISIC_{number}_superpixels.png"))
    assert (len(find(tmp_path).sources), find(tmp_path).unmatched) == (2, [])


# values of masks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(0, 128, 255), (0, 100, 200), (0, 1, 2)])
def test_masks_of_few_greys_are_classes(values, tmp_path):
    for number in range(3):
        image, mask = tmp_path / f"images/{number}.png", tmp_path / f"masks/{number}.png"
        save(image, mask, trees.draw(str(number))[0], np.array(values, np.uint8)[labels_of(number)])
    result, faults = examined(tmp_path)
    assert "class_mask" in faults
    assert sorted(result["row"]["classes"].values()) == list(values[1:])
    sets = prepare(FolderDataset.model_validate_json(json.dumps(result["row"])), tmp_path / "out")
    assert {int(label) for pair in sets["train"].pairs for label in np.unique(sets["train"].labels(pair))} == {0, 1, 2}


def test_masks_in_colours_stop_and_the_row_names_the_colours(tmp_path):
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    for number in range(3):
        image, mask = tmp_path / f"images/{number}.png", tmp_path / f"masks/{number}.png"
        save(image, mask, trees.draw(str(number))[0], colours[labels_of(number)])
    with pytest.raises(UserError, match=r"in colours: name them in the data-set row, classes"):
        prepare(row(tmp_path), tmp_path / "out")
    result, faults = examined(tmp_path)
    assert faults["colour_mask"]["severity"] == "stops prepare"
    assert sorted(result["row"]["classes"].values()) == [[0, 0, 255], [255, 0, 0]]
    command = [sys.executable, "-m", "pipeline", "doctor", str(tmp_path), "--out", str(tmp_path / "look.png")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "look.png").is_file()


def test_advice_never_costs_a_class(tmp_path):
    pairs(tmp_path, ["a", "b"])
    for name in ("a", "b"):
        Image.fromarray(labels_of(0)).save(tmp_path / f"masks/{name}.png")
    with pytest.raises(UserError, match="its values are 0, 1, 2: set mask_threshold below the lesion's, or classes"):
        prepare(row(tmp_path), tmp_path / "out")


def test_one_odd_mask_does_not_change_the_row_of_all(tmp_path):
    pairs(tmp_path, [str(number) for number in range(6)])
    for mask in sorted((tmp_path / "masks").iterdir())[1:]:
        grey = np.asarray(Image.open(mask)).astype(int) + np.arange(64 * 64).reshape(64, 64) % 40
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(mask)
    Image.fromarray(trees.draw("0")[1]).save(tmp_path / "masks/0.png")
    result, faults = examined(tmp_path)
    assert "zero_one_mask" in faults
    assert {"mask_threshold", "classes"} & set(result["row"]) == set()


def arrays(count=4, **changes):
    drawn = [trees.draw(str(number)) for number in range(count)]
    images, masks = np.stack([image for image, _ in drawn]), np.stack([mask for _, mask in drawn])
    both = {"train_images": images, "train_label": masks, "test_images": images[:2], "test_label": masks[:2]}
    return both | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"train_images": np.zeros((4, 64, 64, 3))},
        {"train_images": np.zeros((4, 3, 64, 64), np.uint8)},
        {"train_label": np.zeros((4, 1), np.uint8)},
        {"train_label": np.zeros((3, 64, 64), np.uint8)},
        {"train_label": np.zeros((4, 32, 32), np.uint8)},
        {"train_images": np.array([{}, {}, {}, {}], dtype=object)},
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_they_are_read(changes, tmp_path):
    np.savez(tmp_path / "set.npz", **arrays(**changes))
    with pytest.raises(UserError, match=r"set.npz cannot be used: train_"):
        find(tmp_path)


def test_soft_masks_in_arrays_are_cut_where_the_row_says(tmp_path):
    soft = arrays()["train_label"] * np.uint8(100)
    np.savez(tmp_path / "set.npz", **arrays(train_label=soft[..., None]))
    splits = {"train": "train", "test": "test"}
    made = row(tmp_path, splits=splits, mask_threshold=0, allow_duplicates=("*",))
    assert prepare(made, tmp_path / "out")["train"].masks().any()
    with pytest.raises(UserError, match="its values are 0, 100"):
        prepare(row(tmp_path, splits=splits, mask_threshold=100), tmp_path / "two")


# rows, lists, sequences ----------------------------------------------------------------------------------------------


def test_the_row_that_is_printed_is_one_that_can_be_used(tmp_path):
    pairs(tmp_path / "a/train", ["0", "1"])
    pairs(tmp_path / "a/val", ["2"])
    assert examined(tmp_path / "a")[0]["row"]["splits"] == {"train": "train", "test": "val"}
    pairs(tmp_path / "b", ["x"])
    pairs(tmp_path / "b/train", ["y"])
    assert examined(tmp_path / "b")[0]["row"]["splits"] == {"train": 0.5, "test": 0.5}
    trees.nnunet(tmp_path / "c")
    (tmp_path / "c/dataset.json").write_text(json.dumps({"labels": {"background": 0, "tum\u00f6r (a)": 1, "b": 2}}))
    assert examined(tmp_path / "c")[0]["row"]["classes"] == {"tum-r -a": 1, "b": 2}
    pairs(tmp_path / "donn\u00e9es \u00e9t\u00e9", ["x", "y"])
    command = [sys.executable, "-m", "pipeline", "doctor", str(tmp_path / "donn\u00e9es \u00e9t\u00e9")]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "  donn-es-t:" in shown


def test_lists_take_ids_with_dots_and_marks_of_other_systems(tmp_path):
    root = tmp_path / "raw"
    pairs(root, ["pat0.vis1", "pat0.vis2", "pat1.vis1"])
    (root / "train.txt").write_bytes("\ufeffpat0.vis1\npat0.vis2.png\n".encode())
    (root / "test.txt").write_text("pat1.vis1\n")
    (root / "groups.csv").write_bytes("\ufeffid,p\npat0.vis1,a\npat0.vis2,a\npat1.vis1.png,b\n".encode())
    splits = {"train": "train.txt", "test": "test.txt"}
    sets = prepare(row(root, splits=splits, group="groups.csv"), tmp_path / "out")
    assert [pair.id for pair in sets["train"].pairs] == ["pat0.vis1", "pat0.vis2"]
    (root / "groups.csv").write_text("pat0.vis1;a\npat0.vis2;a\n")
    with pytest.raises(UserError, match=r"names none of the ids; a line is id,group with a comma"):
        prepare(row(root, splits=splits, group="groups.csv"), tmp_path / "two")
    (root / "test.txt").write_bytes(b"\xe9t\xe9\n")
    with pytest.raises(UserError, match="is not written in UTF-8"):
        prepare(row(root, splits=splits), tmp_path / "three")


def test_a_list_may_not_name_an_id_that_stands_for_two(tmp_path):
    pairs(tmp_path / "a", ["0", "1"])
    pairs(tmp_path / "b", ["0"])
    (tmp_path / "train.txt").write_text("0\n")
    (tmp_path / "test.txt").write_text("1\n")
    with pytest.raises(UserError, match="names 0, which stands for several: "):
        prepare(row(tmp_path, splits={"train": "train.txt", "test": "test.txt"}), tmp_path / "out")


def test_a_video_that_lies_in_two_splits_is_refused(tmp_path):
    video(tmp_path, "v", 8)
    splits = {"train": ".[:5]", "test": ".[5:]"}
    with pytest.raises(UserError, match="group images-v000 is in both train and test"):
        prepare(row(tmp_path, splits=splits, sequence_likeness=0.9, allow_duplicates=("*",)), tmp_path / "out")


def test_frames_with_gaps_in_their_numbers_are_a_sequence(tmp_path):
    video(tmp_path, "v", 8)
    for number in (1, 3, 5, 7):
        (tmp_path / f"images/v{number:03d}.png").unlink()
        (tmp_path / f"masks/v{number:03d}.png").unlink()
    pairs(tmp_path, ["w1", "x9"])
    sets = prepare(row(tmp_path, sequence_likeness=0.6, allow_duplicates=("*",)), tmp_path / "out")
    groups = {pair.id: pair.group for found in sets.values() for pair in found.pairs}
    assert len({groups[f"v{number:03d}"] for number in (0, 2, 4, 6)}) == 1
    assert groups["w1"] != groups["x9"]


def test_alike_images_are_told_once_each_however_many_there_are():
    rng = np.random.default_rng(0)
    frames = rng.normal(0, 1, 1024) + rng.normal(0, 0.01, (1500, 1024))
    frames = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(np.float32)
    assert 750 <= len(near_duplicates(frames, ["train"] * 1500, across=False)) <= 1500
    assert near_duplicates(frames, ["train"] * 1500, across=True) == []
    assert 500 <= len(near_duplicates(frames, ["train"] * 1000 + ["test"] * 500, across=True)) <= 1500


def test_ids_that_are_too_long_for_the_names_of_masks_are_named(tmp_path):
    pairs(tmp_path, ["a" * 200, "b"])
    with pytest.raises(UserError, match="has 200 bytes, at most 150"):
        prepare(row(tmp_path), tmp_path / "out")


def test_a_folder_that_looks_like_scratch_work_is_left_alone(tmp_path):
    host = socket.gethostname().replace(".", "_")
    alive = f".out.{host}-{os.getppid()}.partial"
    for name in (".out.2024", ".out.notes.partial", alive):
        (tmp_path / name).mkdir()
    (tmp_path / f".out.{host}-999999999.partial").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("x")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out", ".out.2024", ".out.notes.partial", alive}
