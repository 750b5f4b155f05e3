"""Images without masks through DVC: an edit among them reruns the base, and nothing that sees pairs alone."""

import json
from pathlib import Path

import pytest

from data.pairs.image_io import png_text
from data.pairs.manifest import read_pairs
from data.pairs.prepared import read_lone_images
from tests.data.layouts import trees
from tests.data.prepare.test_unlabelled import lone
from tests.pipeline.projects import edit, repro

pytestmark = pytest.mark.graph
TARGETS = ("base@clinic", "features_real@clinic-real--real-lite0")


@pytest.fixture
def clinic(fresh):
    """Return a folder of 6 + 3 pairs and 4 images without masks, and its row without them, in a fresh project."""
    root = fresh.parent / "clinic"
    for side, count in (("train", 6), ("test", 3)):
        for number in range(count):
            trees.save(root / f"{side}/images/{side}{number}.png", root / f"{side}/masks/{side}{number}.png")
    for number in range(4):
        lone(root / f"frames/{number}.png")
    row = {"kind": "folder", "path": str(root), "size_px": 32, "prompt": "p"}
    return root, row | {"splits": {"train": "train", "test": "test"}}


def test_an_edit_among_images_without_masks_reruns_the_base_alone(clinic):
    root, row = clinic

    def of_clinic(**keys):
        def change(data) -> None:
            data["datasets"]["clinic"] = json.loads(json.dumps(row | keys))
            data["comparison"]["datasets"] = ["phantom", "clinic"]

        edit(change)

    of_clinic()
    assert repro(*TARGETS) == {"prepare@clinic", *TARGETS}
    assert len(read_lone_images(Path("data/unlabelled/clinic"))) == 0

    of_clinic(unlabelled="frames")
    assert repro(*TARGETS) == {"prepare@clinic", "base@clinic"}
    assert len(read_lone_images(Path("data/unlabelled/clinic"))) == 4
    assert len(read_pairs(Path("data/processed/clinic/train"))) == 6

    base = Path("outputs/base/clinic/base.json").read_bytes()
    lone(root / "frames/further.png")
    assert repro(*TARGETS) == {"prepare@clinic", "base@clinic"}
    assert Path("outputs/base/clinic/base.json").read_bytes() != base
    assert repro(*TARGETS) == set()


def test_images_start_from_those_without_masks(clinic):
    """Their masks are a segmenter's, dealt out with them; a larger multiple holds the smaller one."""
    _, row = clinic

    def change(data) -> None:
        data["datasets"]["clinic"] = json.loads(json.dumps({**row, "unlabelled": "frames"}))
        data["masks"]["found"] = {"kind": "pseudo", "copies": 2}
        data["sampling"]["strength"] = 0.5
        data["filtered"]["datasets"] = []
        for block in ("comparison", "volume"):
            data[block].update(datasets=["clinic"], masks=["found"], generators=["controlnet"])

    edit(change)
    made = repro("sample_volume@clinic-controlnet-0-found-2", "sample@clinic-controlnet-0-found")
    assert {"masks@clinic-found", "refiner@clinic-controlnet"} <= made
    frames = read_lone_images(Path("data/unlabelled/clinic"))
    masks = [read_pairs(Path(f"outputs/masks/clinic/found/{copy}")) for copy in (1, 2)]
    images = {masks[0].image(pair).tobytes() for pair in masks[0].pairs}
    assert images == {frames.image(frame).tobytes() for frame in frames.rows}
    assert [len(copy) for copy in masks] == [6, 6]
    twice = read_pairs(Path("outputs/samples/x2/clinic/controlnet-g0-found"))
    once = read_pairs(Path("outputs/samples/x1/clinic/controlnet-g0-found"))
    assert {pair.mask_sha256 for pair in twice.pairs} == {pair.mask_sha256 for copy in masks for pair in copy.pairs}
    assert {pair.parent for pair in twice.pairs} == {""}
    assert not images & {twice.image(pair).tobytes() for pair in twice.pairs}
    again = {pair.id: pair.image_sha256 for pair in twice.pairs}
    assert len(once) == 6
    assert all(again[pair.id] == pair.image_sha256 for pair in once.pairs)
    assert png_text(twice.folder / twice.pairs[0].image)["near-copy"] == "yes"
