"""Writing pairs and pair sets: one pair, duplicates, and masks with the images that were made for them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.files import copy_file, sha256_file
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, class_names, complete, file_names, write_manifest


def write_pair(folder: Path, pair: Pair, image: np.ndarray, labels: np.ndarray) -> Pair:
    """Write uint8 (H, W, 3) and uint8 (H, W) in {0..K} where the row says, and return it with hashes and foreground."""
    write_image(folder / pair.image, image)
    write_mask(folder / pair.mask, labels, len(class_names(pair)))
    return complete(folder, pair)


def write_duplicate(real: PairSet, folder: Path) -> PairSet:
    """Write the real pairs once more under new ids: the paper's "Copy-Paste", the control for added training steps."""
    rows = []
    for pair in real.pairs:
        image, mask = file_names(f"{pair.id}-copy")
        row = replace(pair, id=f"{pair.id}-copy", image=image, mask=mask, source="duplicate", parent=pair.id)
        copy_file(real.folder / pair.image, folder / row.image)
        copy_file(real.folder / pair.mask, folder / row.mask)
        rows.append(row)
    return write_manifest(folder, rows)


def write_synthetic(mask_sets: Sequence[PairSet], images: Sequence[Path], source: str, folder: Path) -> PairSet:
    """Write sets of masks, each with the images of the same ids from its folder; masks are copied byte by byte."""
    rows: list[Pair] = []
    for masks, drawn in zip(mask_sets, images, strict=True):
        for pair in masks.pairs:
            image, _ = file_names(pair.id)
            copy_file(drawn / f"{pair.id}.png", folder / image)
            copy_file(masks.folder / pair.mask, folder / pair.mask)
            rows.append(replace(pair, image=image, source=source, image_sha256=sha256_file(folder / image)))
    return write_manifest(folder, rows)
