"""Opt-in: the real pairs that a developer has at hand. SIAMESE_DATA names the folder of kvasir-seg/ and ph2/."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.layouts.layouts import find
from data.mask_files.pixels import mask_pixels, threshold_mask
from data.pairs.image_io import MASK_THRESHOLD
from data.prepare.config import FolderDataset
from data.prepare.prepare import prepare

ROOT = os.environ.get("SIAMESE_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not ROOT, reason="SIAMESE_DATA names no folder with kvasir-seg and ph2"),
]


def row(path: str, splits: dict, **more) -> FolderDataset:
    base = {"kind": "folder", "path": f"{ROOT}/{path}", "size_px": 64, "prompt": "", "antialias": True}
    return FolderDataset(**base, splits=splits, **more)


def test_kvasir_seg_by_sub_folder(tmp_path):
    sets = prepare(row("kvasir-seg", {"train": "train", "test": "test"}, limit={"train": 20}), tmp_path / "out")
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 20, "test": 60}
    assert 0.02 < np.mean([pair.foreground for pair in sets["test"].pairs]) < 0.4


def test_ph2_by_share(tmp_path):
    sets = prepare(row("ph2", {"train": 0.7, "test": 0.3}), tmp_path / "out")
    assert {split: len(pairs) for split, pairs in sets.items()} == {"train": 98, "test": 42}


def test_above_zero_would_make_kvasir_lesions_larger():
    sources = find(Path(f"{ROOT}/kvasir-seg/test")).sources
    greys = [mask_pixels(s.masks[0]) for s in sources]
    inflation = [threshold_mask(g, 0).sum() / threshold_mask(g, MASK_THRESHOLD).sum() - 1 for g in greys]
    assert 0.01 < np.median(inflation) < 0.06
