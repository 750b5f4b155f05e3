"""Phantoms: the default stays as it was, and looks, styles, domains and test sets are what the row says."""

import csv
from typing import get_args

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from data.exports.verify import verify
from data.pairs.files import sha256_tree
from data.pairs.prepared import Prepared
from data.prepare.config import Look, PhantomDataset, Style
from data.prepare.phantom import draw_phantom
from data.prepare.phantom_styles import CHANGES, LOOKS, draw_pair
from data.prepare.prepare import prepare
from tests.contracts.imports import ROOT

GOLDEN = ROOT / "tests/golden/phantom.csv"  # 4 x 4 cell means of a pair, before there were looks and styles
IDS = [f"p{number}" for number in range(24)]


def row(**changes) -> PhantomDataset:
    base = {"kind": "phantom", "path": "x", "size_px": 32, "prompt": "p", "train": 4, "seed": 0}
    return PhantomDataset(**{**base, **({} if "tests" in changes else {"test": 4}), **changes})


def drawn(look: str, style: str) -> tuple[np.ndarray, np.ndarray]:
    images, masks = zip(*(draw_pair(look, style, 0, name, 64) for name in IDS), strict=True)
    return np.stack(images).astype(float), np.stack(masks)


def cells(array: np.ndarray) -> np.ndarray:
    """Return the means of 4 x 4 cells, (4, 4, channels)."""
    side = len(array) // 4
    return array.reshape(4, side, 4, side, -1).mean((1, 3))


def test_default_phantoms_are_drawn_as_ever():
    with GOLDEN.open(newline="") as file:
        lines = list(csv.DictReader(file))
    for name in {line["id"] for line in lines}:
        image, mask = draw_phantom(0, name, 64)
        assert np.array_equal(draw_pair("endoscopy", "same", 0, name, 64)[0], image)
        assert np.array_equal(draw_pair("endoscopy", "same", 0, name, 64)[1], mask)
        means = np.concatenate([cells(image), 255 * cells(mask)], axis=2)
        for line in (line for line in lines if line["id"] == name):
            was = [float(line[key]) for key in ("red", "green", "blue", "lesion")]
            # a processor may round a pixel in the other way; another draw moves a cell by several greys
            assert means[int(line["row"]), int(line["column"])] == pytest.approx(was, abs=0.05), line


def test_the_default_row_is_one_domain_and_one_test_set(tmp_path):
    sets = prepare(row(), tmp_path / "out")
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 4, "test": 4}
    for split, pairs in sets.items():
        for number, pair in enumerate(pairs.pairs):
            assert (pair.id, pair.domain) == (f"{split}-{number:04d}", "phantom")
            assert np.array_equal(pairs.image(pair), draw_phantom(0, pair.id, 32)[0])


def test_five_test_sets_two_domains_and_validation(tmp_path):
    styles = {"cvc-300": "near", "clinicdb": "colour", "kvasir": "same", "colondb": "faint", "etis": "small"}
    tests = {name: {"count": 4 + number, "style": style} for number, (name, style) in enumerate(styles.items())}
    wanted = row(train=7, val=4, tests=tests, domains=2)
    sets = prepare(wanted, tmp_path / "out")
    assert {split: len(pairs) for split, pairs in sets.items()} == {
        "train": 7, "val": 4, "cvc-300": 4, "clinicdb": 5, "kvasir": 6, "colondb": 7, "etis": 8,
    }  # fmt: skip
    assert set(Prepared(tmp_path / "out").tests()) == set(styles)
    assert [pair.domain for pair in sets["train"].pairs] == ["phantom", "phantom-colour"] * 3 + ["phantom"]
    assert [pair.domain for pair in sets["val"].pairs] == ["phantom", "phantom-colour"] * 2
    for name, style in styles.items():
        assert {pair.domain for pair in sets[name].pairs} == {"phantom" if style == "same" else f"phantom-{style}"}
        verify(sets[name])
    hashes = [pair.image_sha256 for pairs in sets.values() for pair in pairs.pairs]
    assert len(set(hashes)) == len(hashes)
    prepare(wanted, tmp_path / "again")
    assert sha256_tree(tmp_path / "again") == sha256_tree(tmp_path / "out")
    first, second = (
        np.mean([sets["train"].image(p).mean((0, 1)) for p in sets["train"].pairs if p.domain == domain], axis=0)
        for domain in ("phantom", "phantom-colour")
    )
    assert second[0] / second[2] < 0.85 * first[0] / first[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": None}, "either test or tests"),
        ({"test": 4, "tests": {"a": {"count": 4}}}, "either test or tests"),
        ({"tests": {"val": {"count": 4}}}, "cannot name a test set"),
        ({"tests": {"native": {"count": 4}}}, "cannot name a test set"),
        ({"tests": {"../a": {"count": 4}}}, "pattern"),
        ({"tests": {"a": {"count": 4, "style": "odd"}}}, "'same', 'near'"),
        ({"look": "cave"}, "'skin'"),
        ({"domains": 3}, "1 or 2"),
    ],
)
def test_rows_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        row(**changes)


def test_the_schema_names_what_can_be_drawn():
    assert (set(get_args(Look)), set(get_args(Style))) == (set(LOOKS), set(CHANGES))


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_shows_its_lesions(look):
    images, masks = drawn(look, "same")
    areas = masks.mean((1, 2))
    assert (areas > 0.02).all()
    assert (areas < 0.3).all()
    edges = masks.copy()
    edges[:, 1:-1, 1:-1] = 0
    assert not edges.any()
    colours = np.concatenate([images, images[..., :2] - images[..., 1:]], axis=3)  # and red less green, green less blue
    ratios = []
    for image, mask in zip(colours, masks, strict=True):
        away = cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
        spread = image[away].std(axis=0)
        shift = np.abs(image[mask == 1].mean(axis=0) - image[away].mean(axis=0))
        ratios.append((shift / spread).max())
    assert np.median(ratios) > 2
    assert min(ratios) > 1 or look == "endoscopy"  # where some are told by their pits alone
    again = draw_pair(look, "same", 0, IDS[0], 64)
    assert np.array_equal(again[0], images[0])
    assert not np.array_equal(draw_pair(look, "same", 1, IDS[0], 64)[0], images[0])


def sharpness(images: np.ndarray) -> float:
    return float(np.abs(np.diff(images.mean(-1), axis=1)).mean())


def separation(images: np.ndarray, masks: np.ndarray) -> float:
    """Return the mean distance in colour between lesion and surroundings, in greys."""
    gaps = [i[m == 1].mean(0) - i[m == 0].mean(0) for i, m in zip(images, masks, strict=True)]
    return float(np.linalg.norm(gaps, axis=1).mean())


@pytest.mark.parametrize("look", LOOKS)
def test_every_style_changes_what_it_is_named_for(look):
    plain, masks = drawn(look, "same")
    made = {style: drawn(look, style) for style in CHANGES}
    for style, (_, changed) in made.items():
        assert np.array_equal(changed, masks) == (style != "small")
    red_to_blue = {style: images[..., 0].mean() / images[..., 2].mean() for style, (images, _) in made.items()}
    assert red_to_blue["colour"] < 0.8 * red_to_blue["same"]
    assert 0.8 * red_to_blue["same"] < red_to_blue["near"] < 0.95 * red_to_blue["same"]
    assert separation(*made["faint"]) < 0.65 * separation(plain, masks)
    assert made["small"][1].mean() < 0.45 * masks.mean()
    assert made["small"][1].sum((1, 2)).min() >= 20
    assert sharpness(made["blur"][0]) < 0.7 * sharpness(plain)
    risen = (made["glare"][0] - plain).min(-1)  # to white, so in every channel
    assert (risen > 20).mean() > 0.005
    assert (risen == 0).mean() > 0.5
    again, _ = draw_pair(look, "glare", 0, IDS[3], 64)
    assert np.array_equal(again, made["glare"][0][3])
