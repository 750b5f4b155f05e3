"""The row, or the doctor's options, say which files are images and which are masks: by patterns, or by a table."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from data.doctor.doctor import examine
from data.layouts.layouts import find
from data.pairs.errors import UserError
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from data.readers.config import Which
from tests.contracts.imports import ROOT
from tests.data.layouts import trees


def row(path, **changes):
    base = {"kind": "folder", "path": str(path), "size_px": 32, "prompt": "p", "splits": {"train": 0.5, "test": 0.5}}
    return FolderDataset(**{**base, **changes})


def tree(root, image: str, mask: str, count: int = 4, **fixed) -> None:
    for number in range(count):
        save = {"id": f"c{number}", "group": f"g{number // 2}", **fixed}
        trees.save(root / image.format(**save), root / mask.format(**save))


PATTERNS = [
    ("{id}/image.png", "{id}/mask.png"),
    ("images/{id}.jpg", "gt/{id}_seg.png"),
    ("{id}.png", "{id}_mask.png"),
    ("x{id}.png", "{id}.png"),
    ("a/{id}/photo.png", "b/{id}.png"),
    ("a/{id}/{id}.png", "b/{id}.png"),
    ("deep/er/{id}.png", "other/{id}.bmp"),
    ("pictures-of-{id}.png", "truth-of-{id}.png"),
    ("{group}/{id}/i.png", "{group}/{id}/m.png"),
    ("{id} (image).png", "{id} [mask].png"),
]


@pytest.mark.parametrize(("images", "masks"), PATTERNS)
def test_patterns_pair_what_the_same_id_names(images, masks, tmp_path):
    tree(tmp_path, images, masks)
    found = find(tmp_path, None, Which(images, masks))
    assert (len(found.sources), found.unmatched, found.unused) == (4, [], [])
    for source in found.sources:
        name = source.id.rpartition("-")[2]
        fixed = {"id": name, "group": f"g{int(name[1:]) // 2}"}
        assert source.image == tmp_path / images.format(**fixed)
        assert source.masks == (tmp_path / masks.format(**fixed),)
    sets = prepare(row(tmp_path, images=images, masks=masks), tmp_path.parent / f"{tmp_path.name}-out")
    assert sum(len(pairs) for pairs in sets.values()) == 4


def test_stars_stand_for_names_and_folders_and_endings_may_be_in_capitals(tmp_path):
    tree(tmp_path, "a/x7/{id}.JPG", "b/{id}_reader1.png")
    found = find(tmp_path, None, Which("**/{id}.jpg", "b/{id}_*.png"))
    assert [source.id for source in found.sources] == ["c0", "c1", "c2", "c3"]
    assert find(tmp_path, None, Which("./a/*/{id}.jpg", "b\\{id}_reader?.png")).sources == found.sources
    shutil.copy(tmp_path / "b/c0_reader1.png", tmp_path / "b/c0_reader2.png")
    assert len(find(tmp_path, None, Which("**/{id}.jpg", "b/{id}_*.png")).sources[0].masks) == 2


def test_every_file_without_partner_is_named_and_others_are_told(tmp_path):
    tree(tmp_path, "images/{id}.png", "gt/{id}_seg.png")
    (tmp_path / "images/c0.png").rename(tmp_path / "images/other.png")
    shutil.copy(tmp_path / "images/c1.png", tmp_path / "images/c1.bmp")
    (tmp_path / "images/c9.png").symlink_to("gone")
    (tmp_path / "gt/c9_seg.png").symlink_to("gone")
    trees.save(tmp_path / "elsewhere/1.png", tmp_path / "elsewhere/2.png")
    (tmp_path / "gt/c7.npy").write_bytes(b"x")
    which = Which("images/{id}.*", "gt/{id}_seg.png")
    with pytest.raises(UserError) as caught:
        prepare(row(tmp_path, images=which.images, masks=which.masks), tmp_path / "out")
    assert [line.removeprefix(f"{tmp_path}/").split(" that")[0].split(" to ")[0] for line in caught.value.problems] == [
        "images/c1.png: shares its stem 'c1' with c1.bmp; keep one of them",
        "images/other.png: has no mask",
        "gt/c0_seg.png: has no image",
        "images/c9.png: is a link",
        "gt/c9_seg.png: is a link",
    ]
    codes = {fault["code"]: fault["count"] for fault in examine(tmp_path, None, which)[0]["faults"]}
    assert codes["unused"] == 3


def test_a_pattern_that_fits_nothing_shows_what_is_there(tmp_path):
    tree(tmp_path, "images/{id}.png", "gt/{id}_seg.png")
    with pytest.raises(UserError, match=r"masks: no file fits 'masks/\{id\}.png'") as caught:
        find(tmp_path, None, Which("images/{id}.png", "masks/{id}.png"))
    assert set(caught.value.problems) == {"images/: 4 .png", "gt/: 4 .png"}


def test_what_fits_both_patterns_alike_is_named(tmp_path):
    tree(tmp_path, "a/{id}.png", "b/{id}.png")
    with pytest.raises(UserError, match="no file fits"):
        find(tmp_path, None, Which("*/{id}.png", "{id}/*.png"))


def test_splits_and_groups_come_from_the_path(tmp_path):
    for split, numbers in (("train", range(6)), ("valid", range(6, 8)), ("test", range(8, 12))):
        for number in numbers:
            trees.save(
                tmp_path / f"{split}/i/p{number // 2}_{number}.png", tmp_path / f"{split}/m/p{number // 2}_{number}.png"
            )
    patterns = {"images": "{split}/i/{group}_{id}.png", "masks": "{split}/m/{group}_{id}.png"}
    sets = prepare(row(tmp_path, **patterns, splits={"train": "train", "test": "test"}), tmp_path / "a")
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 6, "test": 4}
    assert {pair.group for pair in sets["train"].pairs} == {"p0", "p1", "p2"}
    assert sets["train"].pairs[0].id == "p0-0"
    for seed in range(4):
        sets = prepare(row(tmp_path, **patterns, seed=seed), tmp_path / f"b{seed}")
        homes = [{pair.group for pair in pairs.pairs} for pairs in sets.values()]
        assert homes[0] & homes[1] == set()
    plain = {"images": "*/i/{id}.png", "masks": "*/m/{id}.png"}
    sets = prepare(row(tmp_path, **plain, splits={"train": "train", "val": "valid", "test": "test"}), tmp_path / "c")
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 6, "val": 2, "test": 4}
    with pytest.raises(UserError, match="no is no sub-folder"):
        prepare(row(tmp_path, **plain, splits={"train": "train", "test": "no"}), tmp_path / "d")
    folds = row(tmp_path, **patterns, splits={}, folds={"count": 3, "test": 0})
    assert sum(len(pairs) for pairs in prepare(folds, tmp_path / "e").values()) == 12
    (tmp_path / "train.txt").write_text("p0_0\np1_2\n")
    (tmp_path / "test.txt").write_text("p5_10\n")
    lists = row(tmp_path, **plain, splits={"train": "train.txt", "test": "test.txt"}, group="^(p.)")
    assert [pair.id for pair in prepare(lists, tmp_path / "f")["train"].pairs] == ["p0_0", "p1_2"]


def test_a_group_of_the_path_that_lies_in_two_splits_is_refused(tmp_path):
    for split in ("train", "test"):
        trees.save(tmp_path / f"{split}/i/p1_{split}.png", tmp_path / f"{split}/m/p1_{split}.png")
    patterns = {"images": "{split}/i/{group}_{id}.png", "masks": "{split}/m/{group}_{id}.png"}
    with pytest.raises(UserError, match="group p1 is in both train and test"):
        prepare(row(tmp_path, **patterns, splits={"train": "train", "test": "test"}), tmp_path / "out")


WRONG = [
    ({"images": "{id}.png"}, "images and masks are given together"),
    ({"masks": "{id}.png"}, "images and masks are given together"),
    ({"images": "*.png", "masks": "{id}.png"}, r"images: '\*.png' must hold {id}"),
    ({"images": "{id}.png", "masks": "{name}_{id}.png"}, "masks: .* {group} and {split} are known too"),
    ({"images": "{id}.png", "masks": "{id}.png"}, "are the same pattern"),
    ({"images": "{id.png", "masks": "{id}.png"}, "must hold {id}"),
    ({"images": "/abs/{id}.png", "masks": "m/{id}.png"}, "images: .* must lie below path"),
    ({"images": "a/{id}.png", "masks": "../m/{id}.png"}, "masks: .* must lie below path"),
    ({"images": "a/{id}.png", "masks": "m/{id}.png", "pairs": "p.csv"}, "give one of the two"),
    ({"images": "a/{id}.png", "masks": "m/{id}.png", "layout": "folders"}, "leave it out beside images"),
    ({"pairs": "p.csv", "layout": "folders"}, "leave it out beside images"),
    ({"slices": {"window": [0, 1]}}, "slices needs images and masks, or pairs"),
]


@pytest.mark.parametrize(("keys", "text"), WRONG)
def test_keys_that_do_not_fit_together_are_refused_in_the_row_and_by_the_doctor(keys, text, tmp_path):
    whole = {"kind": "folder", "path": "x", "size_px": 64, "prompt": "", "splits": {"train": 0.5, "test": 0.5}}
    with pytest.raises(ValidationError, match=text):
        FolderDataset.model_validate_json(json.dumps(whole | keys))


# a table -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("separator", "mark"), [(",", ""), (";", "\ufeff"), ("\t", "")])
def test_a_table_of_pairs_is_read(separator, mark, tmp_path):
    tree(tmp_path, "here/{id}.png", "there/of {id}.png")
    lines = [("image", "mask", "split", "group", "id")]
    lines += [
        (f"here/c{n}.png", f"there\\of c{n}.png", "training" if n < 3 else "test", f"p{n}", f"k{n}") for n in range(4)
    ]
    text = mark + "\n".join(separator.join(line) for line in lines) + "\n\n"
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    found = find(tmp_path, None, Which(pairs="pairs.csv"))
    assert [(s.id, s.split, s.group) for s in found.sources] == [
        ("k3", "test", "p3"), ("k0", "train", "p0"), ("k1", "train", "p1"), ("k2", "train", "p2"),
    ]  # fmt: skip
    sets = prepare(row(tmp_path, pairs="pairs.csv", splits={"train": "train", "test": "test"}), tmp_path / "out")
    assert [pair.id for pair in sets["train"].pairs] == ["k0", "k1", "k2"]
    assert found.unused == []


def test_all_faults_of_a_table_are_named_with_their_lines(tmp_path):
    tree(tmp_path, "i/{id}.png", "m/{id}.png")
    (tmp_path / "t").mkdir()
    rows = [
        "image,mask,id", "../i/c0.png,../m/c0.png,a", "../i/gone.png,../m/c1.png,b", "../i/c1.png,,c", "../i/c1.png",
        "../i/c2.png,../m/c2.png,a", "../i/c0.png,../m/c0.png,a", "../i/c3.png,../i/c3.png,d",
        "../i/c3.png,../m/c3.png,x/y", "../i/c0.png,../m/c1.png,z",
    ]  # fmt: skip
    (tmp_path / "t/pairs.csv").write_text("\n".join(rows))
    with pytest.raises(UserError) as caught:
        prepare(row(tmp_path, pairs="t/pairs.csv"), tmp_path / "out")
    assert [line.replace(f"{tmp_path}/", "") for line in caught.value.problems if "split " not in line] == [
        "i/gone.png: named in pairs.csv, line 3, but is not there",
        "t/pairs.csv: line 4 names no mask",
        "t/pairs.csv: line 5 has 1 cells, 3 are needed",
        "t/pairs.csv: line 6 has the id 'a' of line 2",
        "t/pairs.csv: line 7 repeats line 2",
        "t/pairs.csv: line 8 names one file as image and as mask",
        "t/pairs.csv: line 9: the id 'x/y' holds a slash",
        "t/pairs.csv: line 10 says another split, group or id than line 2",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.png,b.png\n", "line 1: there is no column image"),
        ("image,mask,colour\n", "line 1: colour is no column"),
        ("image,mask,image\n", "line 1: image stands twice"),
        ("", "line 1: there is no column mask"),
    ],
)
def test_a_table_without_its_columns_says_which_are_needed(text, problem, tmp_path):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(UserError, match="the first line names the columns: image,mask and") as caught:
        find(tmp_path, None, Which(pairs="pairs.csv"))
    assert problem in caught.value.problems


def test_a_table_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file, though `pairs` names it"):
        find(tmp_path, None, Which(pairs="pairs.csv"))
    (tmp_path / "pairs.csv").write_bytes(b"image,mask\n\xe9,x\n")
    with pytest.raises(UserError, match="is not written in UTF-8"):
        find(tmp_path, None, Which(pairs="pairs.csv"))


# the doctor ----------------------------------------------------------------------------------------------------------


def doctor(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "pipeline", "doctor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_the_doctor_takes_patterns_and_prints_the_row_that_prepare_reads(tmp_path):
    tree(tmp_path / "raw", "pics/{id}.jpg", "truth/{id}_t.png")
    assert doctor(tmp_path / "raw").returncode == 2
    options = ("--images", "pics/{id}.jpg", "--masks", "truth/{id}_t.png")
    shown = doctor(tmp_path / "raw", *options)
    assert "layout patterns, 4 pairs" in shown.stdout, shown.stderr
    printed = YAML(typ="safe").load(shown.stdout[shown.stdout.index("datasets:") :])["datasets"]["raw"]
    assert (printed["images"], printed["masks"], "layout" in printed) == ("pics/{id}.jpg", "truth/{id}_t.png", False)
    made = prepare(FolderDataset.model_validate_json(json.dumps({**printed, "size_px": 32})), tmp_path / "out")
    assert sum(len(pairs) for pairs in made.values()) == 4
    assert set(np.unique(made["train"].masks())) == {0, 1}


def test_the_doctor_takes_a_table_from_the_folder_or_from_here(tmp_path):
    tree(tmp_path / "raw", "pics/{id}.jpg", "truth/{id}_t.png")
    lines = ["image,mask", *(f"pics/c{n}.jpg,truth/c{n}_t.png" for n in range(4))]
    (tmp_path / "raw/list.csv").write_text("\n".join(lines))
    for name in ("list.csv", tmp_path / "raw/list.csv"):
        shown = json.loads(doctor(tmp_path / "raw", "--pairs", name, "--json").stdout)
        assert (shown["layout"], shown["pairs"], shown["row"]["pairs"]) == ("pairs", 4, "list.csv")


@pytest.mark.heavy
def test_the_doctor_says_what_is_wrong_with_its_options(tmp_path):
    tree(tmp_path, "pics/{id}.jpg", "truth/{id}_t.png")
    for arguments, text in (
        (("--images", "pics/{id}.jpg"), "images and masks are given together"),
        (("--images", "pics/*.jpg", "--masks", "truth/{id}_t.png"), "must hold {id}"),
        (("--pairs", "no.csv"), "no such file"),
        (("--images", "{id}", "--masks", "m/{id}", "--slices", "{axis: 7}"), "--slices: give such as"),
        (("--images", "{id}", "--masks", "m/{id}", "--slices", "["), "--slices: cannot be read"),
    ):
        done = doctor(tmp_path, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert text in done.stderr


def test_no_pairs_shows_what_was_seen_and_the_way_out(tmp_path):
    tree(tmp_path, "pics/{id}.jpg", "truth/{id}_t.png")
    (tmp_path / "pics/x.npy").write_bytes(b"x")
    shown = doctor(tmp_path).stderr
    assert "pics/: 4 .jpg, 1 array file" in shown
    assert "truth/: 4 .png" in shown
    assert 'doctor --images "DIR/{id}.jpg" --masks "DIR/{id}_mask.png", or --pairs pairs.csv' in shown
