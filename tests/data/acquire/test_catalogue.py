"""The rows of known data sets: valid, and prepared with the published counts from trees of the published layout."""

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from data.pairs.seeds import item_seed
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare
from data.prepare.splits import split_sources
from pipeline.commands.datasets import read_catalogue, rows_of
from pipeline.params.read import read_params
from tests.contracts.imports import ROOT

CATALOGUE = read_catalogue()
PX = 16


def names(image: Path, mask: Path) -> None:
    """Write a pair of empty files: which pairs there are is told by names."""
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pair(image: Path, mask: Path) -> None:
    """Write a small pair of noise that depends on its place alone."""
    rng = np.random.default_rng(item_seed("/".join(image.parts[-4:])))
    lesion = np.zeros((PX, PX), np.uint8)
    lesion[4:10, 3:12] = 255
    for path, array in ((image, rng.integers(0, 256, (PX, PX, 3), np.uint8)), (mask, lesion)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def pranet(root: Path, count) -> None:
    for number in range(count("train")):
        name = str(number + 1) if number < 550 else f"cju{number:05d}"
        names(root / f"TrainDataset/images/{name}.png", root / f"TrainDataset/masks/{name}.png")
    for key, name in (("cvc-300", "CVC-300"), ("clinicdb", "CVC-ClinicDB"), ("kvasir", "Kvasir"),
                      ("colondb", "CVC-ColonDB"), ("etis", "ETIS-LaribPolypDB")):  # fmt: skip
        for number in range(count(key)):
            names(root / f"TestDataset/{name}/images/{number}.png", root / f"TestDataset/{name}/masks/{number}.png")


def isic(images: str, masks: str, suffix: str):
    def write(root: Path, count) -> None:
        for side, key in (("Training", "train"), ("Validation", "val"), ("Test", "test")):
            for number in range(count(key)):
                name = f"ISIC_{number + 10000 * len(side):07d}"
                names(root / images.format(side) / f"{name}.jpg", root / masks.format(side) / f"{name}{suffix}.png")

    return write


isic2016 = isic("ISBI2016_ISIC_Part1_{}_Data", "ISBI2016_ISIC_Part1_{}_GroundTruth", "_Segmentation")
isic2018 = isic("ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth", "_segmentation")


def official_isic2018(root: Path, _count) -> None:
    isic2018(root, {"train": 2594, "val": 100, "test": 1000}.__getitem__)


def kvasir_seg(root: Path, count) -> None:
    names = {split: [f"cju{split}{number}" for number in range(count(split))] for split in ("train", "test")}
    for name in (*names["train"], *names["test"]):
        pair(root / f"Kvasir-SEG/images/{name}.jpg", root / f"Kvasir-SEG/masks/{name}.jpg")
    (root / "train.txt").write_text("\n".join(names["train"]))
    (root / "val.txt").write_text("\n".join(f"{name}.jpg" for name in names["test"]))


def ph2(root: Path, _count) -> None:
    for number in range(200):
        case = f"IMD{number:03d}"
        place = root / "PH2Dataset/PH2 Dataset images" / case
        pair(place / f"{case}_Dermoscopic_Image/{case}.bmp", place / f"{case}_lesion/{case}_lesion.bmp")


def mvtec(root: Path, _count) -> None:
    for defect in ("color", "cut", "hole"):
        for number in range(10):
            name = f"{number:03d}"
            pair(root / f"test/{defect}/{name}.png", root / f"ground_truth/{defect}/{name}_mask.png")


def medsegbench(root: Path, count) -> None:
    arrays = {}
    for split in ("train", "val", "test"):
        rng = np.random.default_rng(item_seed(split))
        arrays[f"{split}_images"] = rng.integers(0, 256, (count(split), PX, PX, 3), np.uint8)
        arrays[f"{split}_label"] = rng.integers(0, 2, (count(split), PX, PX), np.uint8)
    np.savez_compressed(root / "kvasir_256.npz", **arrays)


TREES = {
    "polyps": pranet,
    "isic2016": isic2016,
    "isic2018": isic2018,
    "isic2018-1815": official_isic2018,
    "kvasir-seg": kvasir_seg,
    "ph2": ph2,
    "defects": mvtec,
    "medsegbench-kvasir": medsegbench,
}


LARGE = ("polyps", "isic2016", "isic2018", "isic2018-1815")  # thousands of pairs: listed, not read


def test_every_row_has_a_tree():
    assert set(TREES) == set(CATALOGUE["datasets"])


def row_on_its_tree(name: str, root: Path) -> FolderDataset:
    row = CATALOGUE["datasets"][name]
    root.mkdir()
    TREES[name](root, lambda split: row["expect"].get(split, 0))
    return FolderDataset.model_validate_json(json.dumps(row)).model_copy(update={"path": str(root), "size_px": 32})


@pytest.mark.heavy
@pytest.mark.parametrize("name", LARGE)
def test_a_row_finds_the_published_number_of_pairs(name, tmp_path):
    row, problems = row_on_its_tree(name, tmp_path / "raw"), []
    splits = split_sources(row, problems)
    assert problems == []
    assert {split: len(sources) for split, sources in splits.items()} == CATALOGUE["datasets"][name]["expect"]
    if name == "isic2018-1815":
        ids = {split: [source.id for source in sources] for split, sources in splits.items()}
        assert all(max(ids[one]) < min(ids[two]) for one, two in pairwise(("train", "val", "test")))
    if name == "polyps":
        shutil.rmtree(tmp_path / "raw/TestDataset/CVC-300/images")
        split_sources(row, problems)
        assert any("split cvc-300: 0 pairs found, 60 expected" in problem for problem in problems)


@pytest.mark.heavy
@pytest.mark.parametrize("name", sorted(set(TREES) - set(LARGE)))
def test_a_row_prepares_the_published_number_of_pairs(name, tmp_path):
    sets = prepare(row_on_its_tree(name, tmp_path / "raw"), tmp_path / "out")
    prepared = {split: len(pairs) for split, pairs in sets.items()}
    assert prepared == CATALOGUE["datasets"][name].get("expect", {"train": 18, "val": 6, "test": 6})


def test_a_download_is_asked_for_by_every_row_that_reads_what_it_unpacks():
    needed = {key for name in TREES for key in rows_of(name).get("downloads", {})}
    assert needed == set(CATALOGUE["downloads"])
    assert not any(row["accept_licence"] for row in CATALOGUE["downloads"].values())


def datasets(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline", "datasets", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.heavy
def test_rows_are_listed_printed_and_added_without_touching_the_rest(tmp_path):
    listed = datasets().stdout
    assert "polyps" in listed
    assert "train 1450" in listed
    printed = YAML(typ="safe").load(datasets("isic2016").stdout)
    assert printed == rows_of("isic2016")
    params = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    before = params.read_text().splitlines()
    for name in TREES:
        done = datasets(name, "--add", "--file", str(params))
        assert done.returncode == 0, done.stderr
    lines = params.read_text().splitlines()
    assert [line for line in before if line not in lines] == [line for line in before if line.startswith("downloads:")]
    read = read_params(params)
    assert set(read.datasets) == {"phantom", *TREES}
    assert read.datasets["polyps"].expect["train"] == 1450
    again = datasets("polyps", "--add", "--file", str(params))
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    unknown = datasets("polips")
    assert (unknown.returncode, "did you mean 'polyps'?" in unknown.stderr) == (2, True)
