"""Sets to make decks of: two methods on the same masks, one on other masks, and real splits."""

from pathlib import Path

import numpy as np

from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from evaluation.mos.deck import Options, write_deck

SIZE = 32


def write_set(folder: Path, ids: list[str], source: str, split: str = "train", smooth: bool = False, **more) -> PairSet:
    """Write a pair an id, all different; those of an id have one mask in every set. `smooth` images compress well."""
    rows = []
    for name in ids:
        rng = np.random.default_rng([*name.encode()])
        mask = (rng.random((SIZE, SIZE)) < 0.2).astype(np.uint8)
        rng = np.random.default_rng([*f"{folder}{name}".encode()])
        image = rng.integers(0, 255, (1, 1, 3) if smooth else (SIZE, SIZE, 3), dtype=np.uint8)
        text = {} if source == "real" else {"generator": source, "synthetic": "yes"}
        write_image(folder / f"images/{name}.png", np.broadcast_to(image, (SIZE, SIZE, 3)).copy(), text)
        write_mask(folder / f"masks/{name}.png", mask)
        parent = "" if source == "real" else name.rsplit("-", 2)[0]
        row = Pair(name, f"images/{name}.png", f"masks/{name}.png", split, source, parent=parent, **more)
        rows.append(complete(folder, row))
    return write_manifest(folder, rows)


def write_project(root: Path, parents: int = 10, tests: int = 8) -> None:
    """Write data/processed/toy and outputs/samples/x1/toy below `root` as the stages do."""
    names = [f"zebra{number:02}" for number in range(parents)]
    samples = root / "outputs/samples/x1/toy"
    write_set(root / "data/processed/toy/train", names, "real")
    write_set(root / "data/processed/toy/test", [f"held{number:02}" for number in range(tests)], "real", "test")
    for generator, masks in (("alpha", "plain"), ("omega", "plain"), ("alpha", "moved")):
        ids = [f"{name}-{masks}-1" for name in names]
        write_set(samples / f"{generator}-{masks}", ids, generator, smooth=True)
    write_set(samples / "duplicate-real", [f"{name}-copy" for name in names], "duplicate")
    write_set(samples / "real-real", [], "real")


def write_toy_deck(root: Path, images: int = 4, practice: int = 2) -> tuple[Path, Path]:
    """Write a deck of two sets and return its folder and that of its key."""
    ids = [f"zebra{number:02}-plain-1" for number in range(images + practice)]
    sets = {f"{name}-plain": write_set(root / name, ids, name, smooth=True) for name in ("alpha", "omega")}
    held = {"test": write_set(root / "test", [f"held{n:02}" for n in range(images + practice)], "real", "test")}
    write_deck(sets, held, {}, Options(images, practice), root / "deck", root / "deck-key")
    return root / "deck", root / "deck-key"
