"""Prepared pairs for tests of what is made of real ones."""

from pathlib import Path

import numpy as np

from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from data.prepare.config import PhantomDataset
from data.prepare.prepare import prepare


def phantoms(folder: Path, train: int = 6) -> dict[str, PairSet]:
    row = PhantomDataset(kind="phantom", path="-", size_px=64, prompt="", train=train, test=4, seed=0)
    return prepare(row, folder)


def write_set(folder: Path, pairs: dict[str, tuple[np.ndarray, np.ndarray]], box: str = "") -> PairSet:
    rows = []
    for name, (image, mask) in pairs.items():
        pair = Pair(name, f"images/{name}.png", f"masks/{name}.png", "train", "real", box=box)
        write_image(folder / pair.image, image)
        write_mask(folder / pair.mask, mask)
        rows.append(complete(folder, pair))
    return write_manifest(folder, rows)


def disk(x: int, y: int, radius: float, size_px: int = 64) -> np.ndarray:
    ys, xs = np.mgrid[:size_px, :size_px]
    return (np.hypot(xs - x, ys - y) <= radius).astype(np.uint8)


def plain(colour: tuple[int, int, int], size_px: int = 64) -> np.ndarray:
    return np.full((size_px, size_px, 3), colour, np.uint8)
