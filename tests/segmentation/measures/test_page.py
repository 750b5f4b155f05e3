"""The numbers of docs/evaluation.md are what the code gives for the example on that page."""

import re
from pathlib import Path

import numpy as np
import pytest

from segmentation.measures.evaluate import FLAT, Measures, measure, summarize

PAGE = (Path(__file__).resolve().parents[3] / "docs/evaluation.md").read_text(encoding="utf-8")
ROW = re.compile(r"^(\w)  ((?:\d )+) +([.#](?: [.#])*)$", re.MULTILINE)
SETS = {"first": "ab", "second": "c"}


def example(images: str) -> Measures:
    """Return the measures of those images of the page whose letters are given."""
    maps, masks = [], []
    for image in images:
        rows = [(tenths, marks) for name, tenths, marks in ROW.findall(PAGE) if name == image]
        maps.append(np.array([tenths.split() for tenths, _ in rows], float) / 10)
        masks.append(np.array([[mark == "#" for mark in marks.split()] for _, marks in rows], np.uint8))
    return measure(maps, masks, list(images))


def test_the_pages_numbers_are_computed():
    summary = summarize({name: example(images) for name, images in SETS.items()})
    columns = [*(summary["test_sets"][name]["metrics"] for name in SETS), summary["metrics"]]
    printed = dict(re.findall(r"^\| (\w+) ((?:\| [\d.]+ ){3})\|$", PAGE, re.MULTILINE))
    assert printed == {name: "".join(f"| {column[name]:.4f} " for column in columns) for name in FLAT}


@pytest.mark.parametrize("name", [*FLAT, *dict.fromkeys(key.split("/")[0] for key in FLAT.values())])
def test_the_page_explains_every_name(name):
    assert re.search(rf"\b{name}\b", PAGE.split("## An example")[0])


def test_image_b_is_missed_at_half_and_found_when_stretched():
    images = example("b").images
    assert images["fg_image/dice"][0] == 0
    assert images["polyp_thr256/dice"][0] > 0.8
