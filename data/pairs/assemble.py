"""Writing pairs and pair sets: one pair, duplicates, and images with the masks that they were made for, or with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.files import copy_file, sha256_file
from data.pairs.image_io import png_text, write_image, write_mask
from data.pairs.manifest import Pair, PairSet, class_names, complete, file_names, write_manifest
from data.pairs.tables import write_table

BOX = "box"  # in the text of an image that has other padding than its mask was given with
PROVENANCE = ("id", "parent", "normal", "attempts", "fallback")


def write_pair(
    folder: Path, pair: Pair, image: np.ndarray, labels: np.ndarray, text: Mapping[str, str] | None = None
) -> Pair:
    """Write uint8 (H, W, 3) and uint8 (H, W) in {0..K} where the row says, and return it with hashes and foreground.

    `text` goes into the PNG of the image.
    """
    write_image(folder / pair.image, image, text)
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


def drawn_files(folder: Path, pair_id: str) -> tuple[Path, Path]:
    """Return where sampling puts an image, and the mask that came with it where the method makes its own."""
    return folder / f"{pair_id}.png", folder / f"{pair_id}.mask.png"


def drawn_row(pair: Pair, mask: Path, text: Mapping[str, str]) -> Pair:
    """Return the row of a mask with what the text of its image says of where the mask came from."""
    if not mask.is_file():
        return replace(pair, box=text.get(BOX, pair.box))
    if parent := text.get("parent", ""):
        return replace(pair, parent=parent)
    return replace(pair, parent="", donor="", group="", box="")  # a lesion of no training pair


def write_synthetic(mask_sets: Sequence[PairSet], images: Sequence[Path], source: str, folder: Path) -> PairSet:
    """Write sets of masks, each with the images of the same ids from its folder; masks are copied byte by byte.

    A mask that came with its image takes the place of the one of that id. Where images say of what normal image or in
    how many attempts they were made, provenance.csv says so too.
    """
    rows: list[Pair] = []
    provenance = []
    for masks, drawn in zip(mask_sets, images, strict=True):
        for pair in masks.pairs:
            (image, mask), names = drawn_files(drawn, pair.id), file_names(pair.id)
            text = png_text(image)
            row = replace(drawn_row(pair, mask, text), image=names[0], source=source)
            copy_file(image, folder / row.image)
            copy_file(mask if mask.is_file() else masks.folder / pair.mask, folder / row.mask)
            digest = sha256_file(folder / row.image)
            rows.append(complete(folder, row) if mask.is_file() else replace(row, image_sha256=digest))
            if mask.is_file() or "normal" in text:
                told = {key: text.get(key, "") for key in PROVENANCE[2:]}
                provenance.append({"id": pair.id, "parent": row.parent, **told})
    if provenance:
        write_table(folder / "provenance.csv", PROVENANCE, provenance)
    return write_manifest(folder, rows)
