"""Distances rise with damage, on drawn and on real photographs: blur, noise, collapse, swapped quadrants."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.pairs.image_io import write_image
from data.pairs.manifest import PairSet
from data.prepare.config import FolderDataset
from data.prepare.phantom import draw_phantom
from data.prepare.prepare import prepare
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.features.extractors import extract_features
from evaluation.features.images import Images
from evaluation.scores.by_extractor import lite0_entries

ROOT = os.environ.get("SIAMESE_DATA")
LEVELS = {
    "blur": (0.7, 1.5, 3),  # sigma in px
    "noise": (6, 12, 24),  # in grey levels
    "collapse": (10, 3),  # images that differ
    "quadrants": (1,),
}
NAMES = ("lite0_frechet", "lite0_kernel")


def damaged(pairs: PairSet, folder: Path, kind: str, level: float) -> PairSet:
    """Write the pairs with worse images; every level of noise is the same one, scaled; collapse has `level` images."""
    for number, pair in enumerate(pairs.pairs):
        shown = pairs.pairs[number % int(level)] if kind == "collapse" else pair
        image = pairs.image(shown).astype(np.float64)
        if kind == "blur":
            image = cv2.GaussianBlur(image, (0, 0), level)
        if kind == "noise":
            image = image + np.random.default_rng(number).normal(0, 1, image.shape) * level
        if kind == "quadrants":
            image = np.roll(image, (image.shape[0] // 2, image.shape[1] // 2), (0, 1))
        write_image(folder / pair.image, image.clip(0, 255).round().astype(np.uint8))
        (folder / pair.mask).parent.mkdir(exist_ok=True)
        (folder / pair.mask).write_bytes((pairs.folder / pair.mask).read_bytes())
    return PairSet(folder, pairs.pairs)


def check(train: PairSet, holdout: PairSet, fresh: PairSet, folder: Path) -> None:
    parts = {"train": Images(train), "holdout": Images(holdout), "codec": Images(train, codec=True)}
    parts["fresh"] = Images(fresh)
    for kind, levels in LEVELS.items():
        parts |= {f"{kind}{level}": Images(damaged(fresh, folder / f"{kind}{level}", kind, level)) for level in levels}
    features = extract_features("lite0", train, parts, FeaturesConfig(), {})
    cfg = ScoresConfig(extractors=("lite0",))
    for kind, levels in LEVELS.items():
        names = ["fresh", *(f"{kind}{level}" for level in levels)]
        entries = [lite0_entries({**features, "synthetic": features[name]}, cfg) for name in names]
        for name in NAMES:
            values = [rows[name]["value"] for rows in entries]
            assert values == sorted(values), f"{name} under {kind}: {values}"
        sharp, worst = entries[0], entries[-1]
        assert worst["lite0_frechet"]["value"] > 1.5 * sharp["lite0_frechet"]["value"], kind
        assert worst["lite0_kernel"]["value"] > 10 * sharp["lite0_kernel"]["se"], kind


@pytest.mark.heavy
def test_on_phantoms(save, tmp_path: Path) -> None:
    def drawn(prefix: str, count: int) -> PairSet:
        images, masks = zip(*(draw_phantom(0, f"{prefix}{number}", 64) for number in range(count)), strict=True)
        return save(tmp_path / prefix, np.stack(images), np.stack(masks), prefix)

    check(drawn("train", 40), drawn("holdout", 12), drawn("fresh", 40), tmp_path)


@pytest.mark.real_data
@pytest.mark.skipif(not ROOT, reason="SIAMESE_DATA names no folder with kvasir-seg and ph2")
def test_on_kvasir_seg(tmp_path: Path) -> None:
    row = FolderDataset(
        kind="folder", path=f"{ROOT}/kvasir-seg/train", size_px=64, prompt="", antialias=True,
        splits={"train": 0.1, "test": 0.04, "fresh": 0.1},
    )  # fmt: skip
    sets = prepare(row, tmp_path / "prepared")
    check(sets["train"], sets["test"], sets["fresh"], tmp_path)
