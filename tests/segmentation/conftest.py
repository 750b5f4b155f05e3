"""Pair sets of drawn ellipses, and rows at toy width."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from segmentation.config.architectures import ArchitectureRow, MultiScale
from segmentation.training.train import train

MakePairs = Callable[..., PairSet]
MakeRow = Callable[..., ArchitectureRow]

SANET = MultiScale(
    draw="one", factors=(8 / 11, 9 / 11, 10 / 11, 1.0), probabilities=(0.1, 0.2, 0.3, 0.4), align_corners=False
)
PVT = MultiScale(draw="each", factors=(0.75, 1.0, 1.25), align_corners=True)


def draw_pair(rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy brown image with one brighter ellipse, and the ellipse."""
    y, x = np.mgrid[:size_px, :size_px] / size_px
    center, radii = rng.uniform(0.3, 0.7, 2), rng.uniform(0.12, 0.25, 2)
    mask = ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 < 1
    image = np.array([120, 70, 50]) + rng.normal(0, 12, (size_px, size_px, 1)) + mask[..., None] * [60, 20, 30]
    return image.clip(0, 255).astype(np.uint8), mask.astype(np.uint8)


@pytest.fixture
def make_pairs(tmp_path: Path) -> MakePairs:
    """Return a function that writes `count` drawn pairs into a new folder."""

    def make(count: int, name: str = "real", size_px: int = 64, seed: int = 0) -> PairSet:
        folder, rng, pairs = tmp_path / name, np.random.default_rng(seed), []
        for number in range(count):
            image, mask = draw_pair(rng, size_px)
            key = f"{name}{number:03d}"
            write_image(folder / f"images/{key}.png", image)
            write_mask(folder / f"masks/{key}.png", mask)
            pair = Pair(key, f"images/{key}.png", f"masks/{key}.png", "train", name)
            pairs.append(complete(folder, pair))
        folder.mkdir(exist_ok=True)
        return write_manifest(folder, pairs)

    return make


@pytest.fixture
def make_row() -> MakeRow:
    """Return a function that gives a row at toy width, with changes."""

    def make(**changes: object) -> ArchitectureRow:
        values: dict[str, object] = {
            "network": "unet",
            "encoder": "tu-test_resnet",
            "decoder_channels": (16, 8, 8),
            "input_px": 64,
            "epochs": 1,
            "batch": 4,
            "lr": 3e-3,
            "weight_decay": 1e-4,
            "schedule": "one_cycle",
            "loss": "bce_dice",
            "budget": "equal_epochs",
        }
        return ArchitectureRow(**(values | changes))

    return make


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, object]]]:
    """Return a function that trains into a new folder and returns the folder and the summary."""

    def run(
        name: str, real: PairSet, synthetic: PairSet, row: ArchitectureRow, seed: int = 0, **options: object
    ) -> tuple[Path, dict[str, object]]:
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        return folder, train(real, synthetic, row, folder, seed=seed, **options)

    return run
