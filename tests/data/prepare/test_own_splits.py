"""Splits that the data itself declares, masks of several pages or numbers, files behind links: nothing is silent."""

import numpy as np
import pytest
from PIL import Image

from data.doctor.doctor import examine
from data.pairs.errors import UserError
from data.prepare.prepare import prepare
from tests.data.layouts import trees
from tests.data.prepare.test_prepare import row


def pairs(root, numbers):
    for number in numbers:
        trees.save(root / f"images/{number:02d}.png", root / f"masks/{number:02d}.png")


def stopped(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return "\n".join([str(caught.value), *caught.value.problems])


def test_test_pairs_beside_pairs_of_no_split_are_not_dealt_out(tmp_path, capsys):
    root = tmp_path / "raw"
    pairs(root, range(8))
    pairs(root / "test", range(8, 12))
    found, _ = examine(root)
    assert found["row"] is None
    assert "only some pairs are of a split (8 of no split, 4 of test): put those of no split" in found["stops"][0]
    prepare(row(root), tmp_path / "out")
    assert "splits by share mix its own splits (8 of no split, 4 of test): name these" in capsys.readouterr().err


def test_pairs_that_no_split_of_the_row_takes_are_told(tmp_path, capsys):
    root = tmp_path / "raw"
    for place, numbers in (("train", range(4)), ("test", range(4, 6)), ("extra", range(6, 9))):
        pairs(root / place, numbers)
    named = row(root, splits={"train": "train[:3]", "test": "test"})
    sets = prepare(named, tmp_path / "out")
    assert {name: len(found) for name, found in sets.items()} == {"train": 3, "test": 2}
    assert f"{root}: 3 pairs are in no split of the row: 3 of extra" in capsys.readouterr().err
    prepare(row(root, splits={"train": "train", "test": "test", "extra": "extra"}), tmp_path / "all")
    assert "in no split" not in capsys.readouterr().err


def test_a_table_that_names_splits_names_one_in_each_line(tmp_path):
    root = tmp_path / "raw"
    pairs(root, range(4))
    lines = [f"images/{n:02d}.png,masks/{n:02d}.png,{split}" for n, split in enumerate(["train", "", "test", "train"])]
    (root / "pairs.csv").write_text("\n".join(["image,mask,split", *lines]))
    by_name = row(root, pairs="pairs.csv", splits={"train": "train", "test": "test"})
    assert "pairs.csv: line 3 names no split, as other lines do" in stopped(lambda: prepare(by_name, tmp_path / "out"))


def test_a_mask_of_several_pages_is_refused_by_prepare_and_doctor(tmp_path):
    root = tmp_path / "raw"
    pairs(root, range(4))
    mask = root / "masks/01.png"
    with Image.open(mask) as picture:
        picture.save(mask.with_suffix(".tif"), save_all=True, append_images=[picture.copy()])
    mask.unlink()
    assert "01.tif: holds 2 pictures, of which only the first" in stopped(lambda: prepare(row(root), tmp_path / "out"))
    found, _ = examine(root)
    assert {fault["code"] for fault in found["faults"]} == {"several_pages"}


def test_class_numbers_of_arrays_become_classes_and_not_one_lesion(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8)
    labels = np.zeros((8, 32, 32), np.uint8)
    labels[:, 4:20, 4:20], labels[:, 8:12, 8:12] = 1, 2
    parts = {f"{split}_{what}": of[a:b] for what, of in (("images", images), ("label", labels))
             for split, a, b in (("train", 0, 4), ("val", 4, 6), ("test", 6, 8))}  # fmt: skip
    (tmp_path / "raw").mkdir()
    np.savez(tmp_path / "raw/organs.npz", **parts)
    found, _ = examine(tmp_path / "raw")
    assert found["row"]["classes"] == {"class-1": 1, "class-2": 2}
    assert "class_mask" in {fault["code"] for fault in found["faults"]}


def test_a_small_lesion_in_colour_is_not_lost(tmp_path):
    root = tmp_path / "raw"
    pairs(root, range(4))
    for path in (root / "masks").iterdir():
        with Image.open(path) as picture:
            mask = np.stack([np.asarray(picture.resize((256, 256), 0))] * 3, -1)
        mask[2:6, 2:6] = 255, 0, 0
        Image.fromarray(mask).save(path)
        with Image.open(root / "images" / path.name) as image:
            image.resize((256, 256)).save(root / "images" / path.name)
    assert "is in colours: name them" in stopped(lambda: prepare(row(root), tmp_path / "out"))
    assert sorted(examine(root)[0]["row"]["classes"].values()) == [[255, 0, 0], [255, 255, 255]]


def test_one_patient_cannot_be_parted_and_is_named(tmp_path):
    root = tmp_path / "raw"
    pairs(root, range(6))
    (root / "groups.csv").write_text("id,group\n" + "".join(f"{n:02d},anonymous\n" for n in range(6)))
    said = stopped(lambda: prepare(row(root, group="groups.csv"), tmp_path / "out"))
    assert "all are of 1 patient, volume or other group" in said


def test_images_behind_a_link_are_told(tmp_path, capsys):
    pairs(tmp_path / "elsewhere", range(4))
    root = tmp_path / "raw"
    root.mkdir()
    for name in ("images", "masks"):
        (root / name).symlink_to(tmp_path / "elsewhere" / name)
    prepare(row(root), tmp_path / "out")
    told = f"4 images lie outside {root}: DVC does not see when they change"
    assert told in capsys.readouterr().err
    assert any(note.startswith(told) for note in examine(root)[0]["notes"])
