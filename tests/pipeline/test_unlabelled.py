"""Images without masks through DVC: an edit among them reruns the base, and nothing that sees pairs alone."""

import json
from pathlib import Path

import pytest

from data.pairs.manifest import read_pairs
from data.pairs.prepared import read_lone_images
from tests.data.layouts import trees
from tests.data.prepare.test_unlabelled import lone
from tests.pipeline.projects import edit, repro

pytestmark = pytest.mark.graph
TARGETS = ("base@clinic", "features_real@clinic-real--real-lite0")


def test_an_edit_among_images_without_masks_reruns_the_base_alone(fresh):
    root = fresh.parent / "clinic"
    for side, count in (("train", 6), ("test", 3)):
        for number in range(count):
            trees.save(root / f"{side}/images/{side}{number}.png", root / f"{side}/masks/{side}{number}.png")
    for number in range(4):
        lone(root / f"frames/{number}.png")
    row = {"kind": "folder", "path": str(root), "size_px": 32, "prompt": "p"}
    row |= {"splits": {"train": "train", "test": "test"}}

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
