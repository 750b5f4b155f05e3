"""Small real and added pair sets to export."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.assemble import write_synthetic
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, read_pairs, write_manifest
from data.prepare.config import PhantomDataset
from data.prepare.phantom import draw_phantom
from data.prepare.prepare import prepare

SIZE = 64
CLASSES = ("polyp", "instrument")


def phantom(root: Path) -> tuple[dict[str, PairSet], PairSet]:
    """Return real splits of 6 training and 4 test pairs, and one synthetic pair for each mask of train."""
    row = PhantomDataset(kind="phantom", path="x", size_px=SIZE, prompt="", train=6, test=4, seed=0)
    real = prepare(row, root / "phantom")
    write_masks(real["train"], "real", RealMasks(kind="real", copies=1), root / "masks")
    masks = read_pairs(root / "masks/1")
    for pair in masks.pairs:
        write_image(root / f"drawn/{pair.id}.png", draw_phantom(1, pair.id, SIZE)[0], {"mask": pair.id})
    return real, write_synthetic([masks], [root / "drawn"], "siamese", root / "x1")


def labels_of(name: str) -> np.ndarray:
    """Return uint8 (SIZE, SIZE) in {0, 1, 2}: one polyp, an instrument in two pieces; nothing for some names."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    if not name.endswith("0"):
        labels[draw_phantom(0, name, SIZE)[1] > 0] = 1
        labels[2:9, 40:44] = labels[9:14, 44:47] = 2
        labels[50:60, 3:8] = 2
    return labels


def by_hand(folder: Path, split: str, rows: Sequence[Pair]) -> PairSet:
    """Return a pair set of two classes with these ids, sources, groups, parents and donors."""
    done = []
    for row in rows:
        pair = replace(row, image=f"images/{row.id}.png", mask=f"masks/{row.id}.png", split=split)
        pair = replace(pair, classes="|".join(CLASSES))
        write_image(folder / pair.image, draw_phantom(2, f"{split}{row.id}", SIZE)[0])
        write_mask(folder / pair.mask, labels_of(row.parent or row.id), len(CLASSES))
        done.append(complete(folder, pair))
    return write_manifest(folder, done)


def real_row(name: str, group: str = "") -> Pair:
    return Pair(name, "", "", "", "real", "kvasir", group)


def made_row(name: str, parent: str, donor: str = "", source: str = "siamese") -> Pair:
    return Pair(name, "", "", "", source, "kvasir", parent=parent, donor=donor, seed="7")


def grouped(root: Path) -> tuple[dict[str, PairSet], list[PairSet]]:
    """Return two classes, groups of 1 to 3 pairs, two test sets that share ids with train, and two added sets."""
    groups = ["a", "a", "a", "b", "b", "c", "", ""]
    train = [real_row(str(number), group) for number, group in enumerate(groups, 10)]
    real = {
        "train": by_hand(root / "real/train", "train", train),
        "cvc-300": by_hand(root / "real/cvc-300", "cvc-300", [real_row("10"), real_row("11")]),
        "etis": by_hand(root / "real/etis", "etis", [real_row("e.1"), real_row("e 1"), real_row("20")]),
    }
    synthetic = [made_row(f"{pair.id}-random-1", pair.id, "13" if pair.id == "17" else "") for pair in train]
    copies = [made_row(f"{pair.id}-copy", pair.id, source="duplicate") for pair in train]
    return real, [by_hand(root / "x1", "train", synthetic), by_hand(root / "copies", "train", copies)]
