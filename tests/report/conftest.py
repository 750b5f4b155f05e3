"""A tree of results and pair sets as the stages leave them, with numbers drawn from a seed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from data.pairs.files import write_json
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from evaluation.results.results import Grid, RunKey

DATASETS, ARCHITECTURES = ("phantom", "ph2"), ("unet", "segformer")
GENERATORS, MASKS, MULTIPLES, SEEDS = ("controlnet-wc05", "siamese"), ("real", "random"), (1, 2), (0, 1, 2)
GAIN = {"real": 0.0, "duplicate": 0.01, "controlnet-wc05": 0.02, "siamese": 0.05}
SIZE_PX = 64


@dataclass
class Tree:
    """The folder of results, what was written there, and the pair sets."""

    root: Path
    runs: dict[RunKey, dict[str, float]]
    scores: dict[tuple[str, str, str], dict[str, float | None]]
    samples: dict[tuple[str, str, str], tuple[PairSet, PairSet]]

    def grid(self, seeds: Iterable[int] = SEEDS) -> Grid:
        """Return the grid of everything that the tree holds, or of some seeds of it."""
        wanted = set(seeds)
        return Grid(tuple(key for key in self.runs if key.seed in wanted))

    def path(self, key: RunKey) -> Path:
        """Return where the segment stage writes a run."""
        name = f"{key.source}-{key.masks}-x{key.multiple}-s{key.seed}.json"
        return self.root / "segmentation" / key.dataset / key.architecture / name


def every_key() -> list[RunKey]:
    """Return the runs of the tree, in the order in which params.yaml would list them."""
    settings = [("real", "real", 1), ("duplicate", "real", 1)]
    settings += [(g, m, x) for g in GENERATORS for m in MASKS for x in MULTIPLES]
    return [RunKey(d, a, *s, seed) for d in DATASETS for a in ARCHITECTURES for s in settings for seed in SEEDS]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write results of two data sets, two architectures, two generators and three seeds."""
    rng = np.random.default_rng(0)
    tree = Tree(tmp_path / "results", {}, {}, {})
    for key in every_key():
        dice = 0.7 + GAIN[key.source] + 0.01 * key.multiple + float(rng.normal(0, 0.002))
        tree.runs[key] = {"images": 40, "mDice": dice, "mIoU": dice - 0.1, "mDice_pooled": dice + 0.01}
        write_json(tree.path(key), tree.runs[key])
    for dataset, source, masks in sorted(key for key in tree.grid().sets() if key[1] != "duplicate"):
        flat = {
            "lite0_frechet": float(rng.uniform(5, 9)),
            "lite0_kernel": float(rng.uniform(1, 2)),
            "lite0_kernel_se": 0.125,
        }
        flat |= {"kid": None, "mask_fidelity": float(rng.uniform(0.8, 0.9)), "n_real": 12, "n_synthetic": 12}
        tree.scores[dataset, source, masks] = flat
        write_json(tree.root / "scores" / dataset / f"{source}-{masks}.json", flat)
        details = {
            "extractors": ["lite0"],
            "lite0_kernel": {"value": flat["lite0_kernel"], "se": 0.125, "floor": 0.375},
            "kid": {"value": None, "reason": "too few images for <this> score"},
            "fid": {"value": None, "reason": "needs weights: scores.profile: full"},
        }
        write_json(tree.root / "details" / "scores" / dataset / f"{source}-{masks}.json", details)
    real = pair_set(tmp_path / "real", [Pair(f"p{i:02}", "", "", "train", "real") for i in range(12)], rng)
    made = [Pair(f"p{i:02}-x1", "", "", "train", "siamese", parent=f"p{i:02}", seed="3") for i in range(12)]
    tree.samples["phantom", "siamese", "random"] = (real, pair_set(tmp_path / "synthetic", made, rng))
    return tree


def pair_set(folder: Path, rows: list[Pair], rng: np.random.Generator) -> PairSet:
    """Write discs on noise, as the images and masks of the given rows."""
    done = []
    yy, xx = np.mgrid[:SIZE_PX, :SIZE_PX]
    for row in rows:
        y, x, r = rng.integers(20, 44), rng.integers(20, 44), rng.integers(8, 16)
        mask = ((yy - y) ** 2 + (xx - x) ** 2 < r**2).astype(np.uint8)
        image = rng.integers(90, 130, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        image[mask > 0] = (200, 90, 80)
        pair = Pair(**{**vars(row), "image": f"images/{row.id}.png", "mask": f"masks/{row.id}.png"})
        write_image(folder / pair.image, image)
        write_mask(folder / pair.mask, mask)
        done.append(complete(folder, pair))
    return write_manifest(folder, done)
