"""Demo scores rise with damage: blur and noise, in rising strength, on drawn and on real photographs."""

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
from evaluation.scores.by_extractor import demo_entries

ROOT = os.environ.get("SIAMESE_DATA")
LEVELS = {"blur": (0, 0.7, 1.5, 3), "noise": (0, 6, 12, 24)}  # sigma in px, in grey levels
NAMES = ("demo_swd", "demo_fd_rand", "demo_kid_rand")


def damaged(pairs: PairSet, folder: Path, kind: str, level: float) -> PairSet:
    """Write the pairs with blurred or noisy images; every level has the same noise, scaled."""
    for number, pair in enumerate(pairs.pairs):
        image = pairs.image(pair).astype(np.float64)
        if kind == "blur" and level:
            image = cv2.GaussianBlur(image, (0, 0), level)
        if kind == "noise":
            image = image + np.random.default_rng(number).normal(0, 1, image.shape) * level
        write_image(folder / pair.image, image.clip(0, 255).round().astype(np.uint8))
        (folder / pair.mask).parent.mkdir(exist_ok=True)
        (folder / pair.mask).write_bytes((pairs.folder / pair.mask).read_bytes())
    return PairSet(folder, pairs.pairs)


def check(train: PairSet, holdout: PairSet, fresh: PairSet, folder: Path) -> None:
    sets = {
        (kind, level): damaged(fresh, folder / f"{kind}{level}", kind, level)
        for kind, levels in LEVELS.items()
        for level in levels
    }
    parts = {"train": Images(train), "holdout": Images(holdout), "codec": Images(train, codec=True)}
    parts |= {f"{kind}{level}": Images(pairs) for (kind, level), pairs in sets.items()}
    features = extract_features("demo", train, parts, FeaturesConfig(seeds=(0, 1)), {})
    for kind, levels in LEVELS.items():
        entries = [
            demo_entries({**features, "synthetic": features[f"{kind}{level}"]}, ScoresConfig(extractors=("demo",)))
            for level in levels
        ]
        for name in NAMES:
            values = [rows[name]["value"] for rows in entries]
            assert values == sorted(values), f"{name} under {kind}: {values}"
            assert values[-1] > 2 * values[0], f"{name} under {kind}: {values}"


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
        splits={"train": 0.3, "test": 0.1, "fresh": 0.3},
    )  # fmt: skip
    sets = prepare(row, tmp_path / "prepared")
    check(sets["train"], sets["test"], sets["fresh"], tmp_path)
