"""Rows of `masks` that do not fit data sets, generators or filters are refused before anything runs, each in a line."""

import json
import re

import pytest
from ruamel.yaml import YAML

from pipeline.params.mask_checks import check_masks
from pipeline.params.schema import Params
from tests.contracts.imports import ROOT

SHIPPED = YAML(typ="safe").load(ROOT / "params.yaml")
FOLDER = {"kind": "folder", "path": "/some/masks", "copies": 2}
THEIRS = {"kind": "dataset", "dataset": "near", "copies": 2}
PSEUDO = {"kind": "pseudo", "copies": 2}
SHAPES = {"kind": "shapes", "copies": 2, "seed": 0}
CLASSES = {"polyp": 1, "tool": 2}
MINE = {"kind": "folder", "path": "/pairs", "size_px": 64, "prompt": "", "splits": {"train": 0.5, "test": 0.5}}


def problems_of(mine, block: str = "comparison", change=lambda data: None) -> list[str]:
    """Return what is said of a row named mine that stands in a block, beside a data set `near` that is not compared."""
    data = json.loads(json.dumps(SHIPPED))
    data["datasets"]["near"] = {**data["datasets"]["phantom"], "seed": 1}
    data["masks"]["mine"] = mine
    data[block]["masks"] = ["mine"]
    data["filtered"]["datasets"] = []
    change(data)
    return list(check_masks(Params.model_validate_json(json.dumps(data))))


@pytest.mark.parametrize("block", ["comparison", "volume"])
@pytest.mark.parametrize(
    "row", [FOLDER, THEIRS, SHAPES, PSEUDO, {**THEIRS, "split": "test"}, {**THEIRS, "dataset": "phantom"}]
)
def test_rows_that_fit(row, block):
    assert problems_of(row, block) == []


def compared(data) -> None:
    data["comparison"]["datasets"] = ["phantom", "near"]


def several(data) -> None:
    data["datasets"]["phantom"] = {**MINE, "classes": CLASSES}


def near_several(data) -> None:
    data["datasets"]["near"] = {**MINE, "classes": CLASSES}


def by_its_own_image(data) -> None:
    data["generators"]["siamese"] = {"method": "controlnet_image", "hint": "hi", "hint_widths": [8, 16, 32]}
    data["volume"]["masks"] = ["real"]


def from_images(data) -> None:
    data["sampling"]["strength"] = 0.5


def in_pixels(data) -> None:
    from_images(data)
    data["generators"]["siamese"] = {"method": "arsdm"}


def by_colour(data) -> None:
    data["filters"]["strict"] = {"match_colour": "parent"}
    data["filtered"].update(datasets=["phantom"], masks=["mine"])


@pytest.mark.parametrize(
    ("row", "change", "said"),
    [
        ({**THEIRS, "dataset": "naer"}, None, r"masks.mine.dataset: there is no 'naer' \(did you mean 'near'\?\)"),
        ({**THEIRS, "split": "test"}, compared, "masks.mine.split: segmenters are tested or chosen on test of near"),
        ({**THEIRS, "split": "val"}, compared, "masks.mine.split: .* take train, or take near out of comparison.data"),
        (THEIRS, near_several, "masks.mine.dataset: the classes of near are polyp, tool, and datasets.phantom has one"),
        (THEIRS, several, "masks.mine.dataset: the classes of near are one, and datasets.phantom has polyp, tool"),
        (SHAPES, several, "masks.mine.kind: shapes makes one class of lesion, and datasets.phantom has polyp, tool"),
        (FOLDER, several, r"masks.mine.classes: datasets.phantom has polyp, tool, in this order; got \[\]"),
        ({**FOLDER, "classes": CLASSES}, None, "masks.mine.classes: datasets.phantom has one class of lesion: leave"),
        ({**FOLDER, "path": "data/processed/near/train/masks"}, None, "masks.mine.path: .* kind: dataset"),
        ({**FOLDER, "path": "data"}, None, "masks.mine.path: data holds what the stages write"),
        ({**FOLDER, "path": "s3://bucket/masks"}, None, "masks.mine.path: is an address"),
        (
            FOLDER,
            by_its_own_image,
            "comparison.generators: siamese samples each mask with its own real image, so .* mine",
        ),
        (FOLDER, from_images, "sampling.strength: below 1 .* no masks of kind: pseudo are in comparison.masks or vol"),
        (PSEUDO, in_pixels, r"sampling.strength: generators.siamese \(arsdm\) cannot start from an image"),
        (PSEUDO, by_colour, r"filtered.filters: strict takes colours .* \(match_colour\), and masks of mine have none"),
        (FOLDER, by_colour, r"filtered.filters: strict takes colours .* \(match_colour\), and masks of mine have none"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(row, change, said):
    [line] = problems_of(row, change=change or (lambda data: None))
    assert re.match(said, line), line


def test_a_row_that_no_list_names_is_not_held_against_the_others():
    assert problems_of({**FOLDER, "path": "data"}, change=lambda data: data["comparison"].update(masks=["real"])) == []
