"""Pairs of other tools: all that is wrong is told at once by name, and what is right is a pair set like our own."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.baselines.config import Imported
from data.baselines.imported import REFUSED, write_imported
from data.exports.verify import verify
from data.pairs.errors import UserError
from data.pairs.image_io import write_image, write_mask
from data.prepare.phantom import draw_phantom
from tests.contracts.imports import ROOT
from tests.data.layouts import trees
from tests.data.pairs.encodings import bordered, classes, photo, smooth
from tests.data.pairs.real_pairs import disk, phantoms, plain, write_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return phantoms(tmp_path_factory.mktemp("real"))


def put(root: Path, name: str, image=None, mask=None) -> None:
    """Write one pair that no other is like, or one of the given arrays."""
    drawn = draw_phantom(7, name, 64)
    write_image(root / f"images/{name}.png", drawn[0] if image is None else image)
    write_mask(root / f"masks/{name}.png", drawn[1] if mask is None else mask)


def bring(sets, path: Path, out: Path, **more):
    row = Imported.model_validate({"kind": "imported", "path": str(path), **more})
    return write_imported(sets["train"], "tool", row, out, {"test": sets["test"]})


def problems(sets, path: Path, out: Path, **more) -> tuple[str, ...]:
    with pytest.raises(UserError) as raised:
        bring(sets, path, out, **more)
    assert not (out / "manifest.csv").exists()
    return raised.value.problems


def test_a_sound_folder_becomes_a_pair_set(sets, tmp_path):
    for name in ("a", "b", "c"):
        put(tmp_path / "in", name)
    made = bring(sets, tmp_path / "in", tmp_path / "out")
    verify(made)
    assert [pair.id for pair in made.pairs] == ["tool-a", "tool-b", "tool-c"]
    assert {(pair.source, pair.split, pair.parent) for pair in made.pairs} == {("tool", "train", "")}
    image, mask = draw_phantom(7, "b", 64)
    assert np.array_equal(made.image(made.pairs[1]), image)
    assert np.array_equal(made.mask(made.pairs[1]), mask)
    assert {pair.source for pair in bring(sets, tmp_path / "in", tmp_path / "x", source="dfmgan").pairs} == {"dfmgan"}


@pytest.mark.parametrize("tree", [trees.nnunet, trees.jsonl, trees.imagefolder, trees.medsegbench, trees.busi])
def test_every_layout_of_a_data_set_can_be_imported(tree, sets, tmp_path):
    tree(tmp_path / "in")
    made = bring(sets, tmp_path / "in", tmp_path / "out")
    verify(made)
    assert len(made) == sum(trees.TREES[tree][1].values())
    assert all(pair.foreground > 0 for pair in made.pairs)


def test_all_faults_are_told_at_once_by_name(sets, tmp_path):
    root = tmp_path / "in"
    for name in ("good", "alone", "torn", "wide", "grey", "empty", "copy", "leak", "apart", "full", "twin"):
        put(root, name)
    (root / "masks/alone.png").unlink()
    write_mask(root / "masks/lonely.png", disk(30, 30, 9))
    torn = root / "images/torn.png"
    torn.write_bytes(torn.read_bytes()[:200])
    put(root, "wide", plain((90, 60, 60), 96), disk(30, 30, 9, 96))
    soft = np.zeros((64, 64), np.uint8)
    soft[20:40, 20:40], soft[20:40, 40] = 255, np.arange(60, 80)
    Image.fromarray(soft).save(root / "masks/grey.png")
    write_mask(root / "masks/empty.png", np.zeros((64, 64), np.uint8))
    put(root, "copy", sets["train"].images()[2])
    leaked = sets["test"].images()[1].astype(int) + np.random.default_rng(0).integers(-4, 5, (64, 64, 3))
    put(root, "leak", np.clip(leaked, 0, 255).astype(np.uint8))
    write_mask(root / "masks/apart.png", disk(30, 30, 9, 48))
    write_mask(root / "masks/full.png", np.ones((64, 64), np.uint8))
    (root / "masks/twin.png").write_bytes((root / "images/twin.png").read_bytes())
    (root / "parents.csv").write_text("id,parent\ngood,nobody\ngone,train-0000\n")
    found = problems(sets, root, tmp_path / "out", parents="parents.csv")
    wanted = {
        "no_mask": "alone.png",
        "no_image": "lonely.png",
        "damaged": "torn.png",
        "wrong_size": "wide.png is 96x96, the real pairs are 64x64",
        "grey_mask": "grey.png: 0.49 % of its pixels",
        "empty_mask": "empty.png",
        "copy": "tool-copy is the real training image train-0002",
        "leak": "tool-leak is nearly the held-out image test/test-0001",
        "size_mismatch": "apart.png is 48x48",
        "full_mask": "full.png",
        "mask_is_image": "twin.png",
        "parents": "nobody",
    }
    for code, text in wanted.items():
        assert any(line.startswith(code) and text in line for line in found), (code, found)
    assert any("gone in" in line for line in found)
    assert not any("good.png" in line for line in found)


def test_grey_masks_need_a_threshold_and_then_are_cut_there(sets, tmp_path):
    put(tmp_path, "a")
    image, mask = draw_phantom(7, "a", 64)
    Image.fromarray(mask * np.uint8(255)).save(tmp_path / "masks/a.jpg", quality=60)
    (tmp_path / "masks/a.png").unlink()
    found = problems(sets, tmp_path, tmp_path / "out")
    assert len(found) == 1
    assert found[0].startswith("grey_mask: ")
    assert "mask_threshold: 127" in found[0]
    made = bring(sets, tmp_path, tmp_path / "out", mask_threshold=127)
    assert np.count_nonzero(made.masks()[0] != mask) <= 0.01 * mask.size
    assert np.array_equal(made.images()[0], image)


def test_masks_of_a_tool_are_read_as_those_of_a_data_set(sets, tmp_path):
    put(tmp_path / "in", "a")
    mask = draw_phantom(7, "a", 64)[1]
    path = tmp_path / "in/masks/a.png"
    Image.fromarray(np.dstack([mask * np.uint8(0)] * 3 + [mask * np.uint8(255)])).save(path)
    assert np.array_equal(bring(sets, tmp_path / "in", tmp_path / "out").masks()[0], mask)
    for encode, code in ((photo, "photo_mask"), (classes(120, 255), "class_mask"), (bordered, "class_mask")):
        encode(mask, 0).resize((64, 64), Image.Resampling.NEAREST).save(path)
        assert [line.split(":")[0] for line in problems(sets, tmp_path / "in", tmp_path / "x")] == [code]
    smooth(3)(mask, 0).save(path)
    assert bring(sets, tmp_path / "in", tmp_path / "cut", mask_threshold=127).masks()[0].any()


def test_masks_of_zero_and_one_are_told_apart_from_grey_ones(sets, tmp_path):
    put(tmp_path, "a")
    mask = draw_phantom(7, "a", 64)[1]
    Image.fromarray(mask).save(tmp_path / "masks/a.png")
    assert problems(sets, tmp_path, tmp_path / "out")[0].startswith("zero_one_mask: ")
    assert np.array_equal(bring(sets, tmp_path, tmp_path / "out", mask_threshold=0).masks()[0], mask)


def test_another_size_is_stretched_only_when_asked_for(sets, tmp_path):
    put(tmp_path, "a", np.repeat(np.repeat(draw_phantom(7, "a", 64)[0], 2, 0), 3, 1), np.ones((128, 192), np.uint8))
    write_mask(tmp_path / "masks/a.png", np.pad(np.ones((64, 96), np.uint8), ((0, 64), (0, 96))))
    assert [line.split(":")[0] for line in problems(sets, tmp_path, tmp_path / "out")] == ["wrong_size"]
    made = bring(sets, tmp_path, tmp_path / "out", resize="stretch")
    verify(made)
    assert made.images().shape == (1, 64, 64, 3)
    assert np.array_equal(made.masks()[0], np.pad(np.ones((32, 32), np.uint8), ((0, 32), (0, 32))))


def test_parents_are_recorded_by_the_names_that_files_have(sets, tmp_path):
    for name in ("a", "b"):
        put(tmp_path, name)
    (tmp_path / "from.csv").write_text("id,parent\nb,train-0003\n")
    made = bring(sets, tmp_path, tmp_path / "out", parents="from.csv")
    assert [pair.parent for pair in made.pairs] == ["", "train-0003"]
    (tmp_path / "from.csv").write_text("name,real\nb,train-0003\n")
    assert "lacks the columns" in problems(sets, tmp_path, tmp_path / "x", parents="from.csv")[0]
    assert "cannot be read" in problems(sets, tmp_path, tmp_path / "x", parents="none.csv")[0]


def test_what_is_refused_can_be_allowed_by_name(sets, tmp_path):
    put(tmp_path / "in", "empty", mask=np.zeros((64, 64), np.uint8))
    put(tmp_path / "in", "leak", sets["test"].images()[0])
    assert len(problems(sets, tmp_path / "in", tmp_path / "out")) == 2
    made = bring(sets, tmp_path / "in", tmp_path / "out", allow_empty=True, allow_duplicates=("tool-leak",))
    assert [pair.foreground > 0 for pair in made.pairs] == [False, True]


def test_classes_must_be_those_of_the_data_set(sets, tmp_path):
    put(tmp_path / "in", "a")
    with pytest.raises(UserError, match=r"baselines.tool.classes: the data set has one class"):
        bring(sets, tmp_path / "in", tmp_path / "out", classes={"polyp": 255})
    real = write_set(tmp_path / "real", {"r": (plain((90, 60, 60)), disk(30, 30, 9))})
    two = type(real)(real.folder, tuple(type(pair)(**{**vars(pair), "classes": "cup|disc"}) for pair in real.pairs))
    labels = np.zeros((64, 64), np.uint8)
    labels[10:30, 10:30], labels[15:25, 15:25] = 2, 1
    Image.fromarray(labels).save(tmp_path / "in/masks/a.png")
    with pytest.raises(UserError, match=r"the classes cup, disc, in this order; got \[\]"):
        bring({"train": two, "test": sets["test"]}, tmp_path / "in", tmp_path / "out")
    made = bring({"train": two, "test": sets["test"]}, tmp_path / "in", tmp_path / "out", classes={"cup": 1, "disc": 2})
    assert np.array_equal(made.labels(made.pairs[0]), labels)


def test_the_example_of_the_docs_runs_and_can_be_imported(tmp_path, monkeypatch):
    text = (ROOT / "docs/import.md").read_text()
    monkeypatch.chdir(tmp_path)
    own = phantoms(tmp_path / "data/processed/phantom")
    subprocess.run([sys.executable, "-c", re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]], check=True)
    made = bring(own, Path("data/imported/mytool"), tmp_path / "out", parents="parents.csv")
    verify(made)
    assert [pair.parent for pair in made.pairs] == [pair.id for pair in own["train"].pairs]
    assert np.array_equal(made.masks(), own["train"].masks()[:, :, ::-1])


def test_the_docs_name_every_key_of_the_row_and_every_fault_that_is_refused():
    text = (ROOT / "docs/import.md").read_text()
    assert [key for key in Imported.model_fields if f"`{key}`" not in text and key != "kind"] == []
    of_data_sets = {"same_image_across_splits", "near_duplicate_across_splits"}
    assert [code for code in REFUSED - of_data_sets if f"`{code}`" not in text] == []


def test_a_lesion_that_no_pixel_is_left_of_is_refused(sets, tmp_path):
    image, lesion = np.kron(draw_phantom(7, "a", 64)[0], np.ones((4, 4, 1), np.uint8)), np.zeros((256, 256), np.uint8)
    lesion[21, 10:13] = 1
    put(tmp_path / "in", "a", image, lesion)
    (problem,) = problems(sets, tmp_path / "in", tmp_path / "out", resize="stretch")
    assert "masks/a.png: its lesion falls between the pixels of 64 px: remove the pair" in problem
