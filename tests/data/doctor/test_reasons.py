"""Where nothing can be used, the reasons of what came nearest are told; sentences about files are true."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.layouts.layouts import find
from data.pairs.errors import UserError
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from tests.data.layouts import further_trees, trees


def rewritten(root, change) -> None:
    """Write prompt.json anew from its entries."""
    trees.jsonl(root)
    entries = [json.loads(line) for line in (root / "prompt.json").read_text().splitlines()]
    (root / "prompt.json").write_text(change(entries))


def as_lines(entries) -> str:
    return "\n".join(json.dumps(entry) for entry in entries)


READ = {
    "an array": lambda entries: json.dumps(entries, indent=1),
    "backslashes": lambda entries: as_lines([{k: v.replace("/", "\\") for k, v in e.items()} for e in entries]),
    "dots": lambda entries: as_lines([{k: v if k == "prompt" else f"./{v}" for k, v in e.items()} for e in entries]),
}


@pytest.mark.parametrize("case", READ)
def test_lists_in_other_forms_are_read(case, tmp_path):
    rewritten(tmp_path, READ[case])
    found = find(tmp_path)
    assert (found.layout, len(found.sources), found.unmatched, found.unused) == ("jsonl", 5, [], [])
    assert all(source.image.parent.name == "target" for source in found.sources)


TOLD = {
    "files that are not there": (
        lambda entries: as_lines([{**e, "target": "gone/x.png"} for e in entries]), "gone/x.png: named in prompt.json"
    ),
    "other keys": (
        lambda entries: as_lines([{"image": e["target"], "mask": e["source"]} for e in entries]),
        "prompt.json: no entry names a target; it has image, mask",
    ),
    "a broken array": (lambda entries: json.dumps(entries)[:-1], "prompt.json: is no JSON array"),
    "text": (lambda entries: "target source", "prompt.json: no entry names a target; it has no objects, one a line"),
    "no mask": (
        lambda entries: as_lines([{"target": e["target"]} for e in entries]), "entry 1 names no target or no source"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_a_list_of_which_no_entry_can_be_used_says_why(case, tmp_path):
    change, text = TOLD[case]
    rewritten(tmp_path, change)
    with pytest.raises(UserError, match="holds no pairs") as caught:
        find(tmp_path)
    assert text in caught.value.problems[0]


def test_a_list_that_fails_beside_pairs_that_are_found_is_told(tmp_path):
    rewritten(tmp_path / "x", TOLD["files that are not there"][0])
    for name in ("a", "b"):
        trees.save(tmp_path / f"images/{name}.png", tmp_path / f"masks/{name}.png")
    shutil.move(tmp_path / "x/prompt.json", tmp_path / "prompt.json")
    shutil.rmtree(tmp_path / "x")
    found = find(tmp_path)
    assert (found.layout, len(found.sources)) == ("folders", 2)
    assert "not read as layout jsonl: " in found.notes[0]


def test_nnunet_with_two_channel_files_in_every_case_names_them_all(tmp_path):
    trees.nnunet(tmp_path)
    for path in [*tmp_path.glob("images*/*.png")]:
        shutil.copy(path, path.with_name(path.name.replace("_0000", "_0001")))
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert sum("has 2 channel files; 1 can be read, or 3" in line for line in caught.value.problems) == 18


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_nnunet_of_volumes_says_what_they_are_and_how_they_are_read(ending, tmp_path):
    for place in ("imagesTr/a_0000", "labelsTr/a"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / f"{place}{ending}").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert (
        sum("is not read: NIfTI volume; name `images`, `masks` and `slices`" in p for p in caught.value.problems) == 2
    )


def test_a_folder_of_other_forms_alone_says_the_way_in_for_each(tmp_path):
    for name in ("images/1.nii.gz", "images/2.nii.gz", "labels/1.mha", "slides/a.svs", "x.mat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "x.json").write_text(json.dumps({"shapes": [{"points": []}], "imagePath": "a.png"}))
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    for start in ("images/: 2 NIfTI volume", "NIfTI volume; name `images`", "volume; convert it to NIfTI",
                  "whole-slide image; cut tiles", "MATLAB file; ", "labelme file; make masks of it"):  # fmt: skip
        assert sum(line.startswith(start) for line in caught.value.problems) == 1, start


def test_classes_in_folders_of_their_own_are_not_guessed(tmp_path):
    further_trees.unet_plus_plus(tmp_path)
    shutil.copytree(tmp_path / "masks/0", tmp_path / "masks/1")
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert caught.value.problems[0].startswith(f"{tmp_path / 'masks'}: holds folders 0, 1: say which masks are meant")


def test_several_folders_that_may_hold_the_masks_are_not_guessed(tmp_path):
    further_trees.sides_in_names(tmp_path)
    shutil.copytree(tmp_path / "train_masks", tmp_path / "train_labels")
    lines = find(tmp_path).unmatched
    assert any("which of train_images, train_labels, train_masks belong together?" in line for line in lines)


def test_lists_that_say_the_splits_of_voc_are_not_called_unread(tmp_path):
    further_trees.voc(tmp_path)
    assert not [line for _, line in find(tmp_path).unused if "ImageSets" in line]


def test_images_of_voc_that_a_list_names_and_that_lack_are_named(tmp_path):
    further_trees.voc(tmp_path)
    place = tmp_path / "VOCdevkit/VOC2012"
    (place / "JPEGImages/a0.jpg").unlink()
    (place / "SegmentationClass/b0.png").unlink()
    with (place / "ImageSets/Segmentation/val.txt").open("a") as file:
        file.write("zz\n")
    found = find(tmp_path)
    assert [line.rsplit("/", 1)[1] for line in found.unmatched] == [
        "a0.png: has no image", "b0.jpg: has no mask", "zz: named in the list val, but is not there",
    ]  # fmt: skip
    assert "1 images have no mask and stand in no list" in found.notes[0]


def test_an_exif_turn_is_claimed_only_where_a_file_has_one(tmp_path):
    for name in ("plain", "turned"):
        trees.save(tmp_path / f"images/{name}.png", tmp_path / f"masks/{name}.png")
        Image.new("RGB", (120, 90)).save(tmp_path / f"images/{name}.png")
        Image.fromarray(np.eye(120, 90, dtype=np.uint8) * 255).save(tmp_path / f"masks/{name}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 120)).save(tmp_path / "images/turned.png", exif=exif)
    lines = {
        line.rsplit("/", 1)[1]
        for f in examine(tmp_path)[0]["faults"]
        if f["code"] == "size_mismatch"
        for line in f["files"]
    }
    assert lines == {
        "plain.png: is 120x90 but its mask plain.png is 90x120",
        "turned.png: is 120x90 but its mask turned.png is 90x120; turned.png has an EXIF turn, which is applied",
    }


def test_archives_files_and_links_in_place_of_a_folder_say_what_to_do(tmp_path):
    for name in ("x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.7z", "x.rar"):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("a.png", b"")
        with pytest.raises(UserError, match=r"is an archive: unpack it, then give the folder"):
            find(tmp_path / name)
    (tmp_path / "x.nii.gz").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "link").symlink_to("gone")
    for name, text in (
        ("x.nii.gz", r"is a file \(NIfTI volume\), not a folder"), ("notes.txt", "is a file, not a folder"),
        ("link", "is a link to gone, which is not there"), ("nowhere", "is not a folder: set `path`"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=text):
            find(tmp_path / name)


def test_an_array_file_can_be_given_by_itself(tmp_path):
    trees.medsegbench(tmp_path)
    assert len(find(tmp_path / "kvasir_64.npz").sources) == 7


@pytest.mark.parametrize("value", ["80%", "80 %", "0.8", ".8", "0,8", "12.5%"])
def test_shares_as_text_are_refused_with_the_number_to_write(value):
    row = {"kind": "folder", "path": "x", "size_px": 64, "prompt": "", "splits": {"train": value, "test": "20%"}}
    with pytest.raises(
        ValueError, match=r"a share is a number between 0 and 1 without quotes, such as 0\.8; got train"
    ):
        FolderDataset.model_validate(row)


def test_a_folder_named_by_a_number_is_a_split(tmp_path):
    for name in ("1", "2"):
        trees.save(tmp_path / f"{name}/images/{name}.png", tmp_path / f"{name}/masks/{name}.png")
    row = {"kind": "folder", "path": str(tmp_path), "size_px": 32, "prompt": "", "splits": {"train": "1", "test": "2"}}
    assert len(prepare(FolderDataset.model_validate(row), tmp_path / "out")) == 2
