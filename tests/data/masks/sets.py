"""Small pair sets, written without preparing anything."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, file_names, write_manifest


def blobs(*lesions: tuple[int, int, int, int], size_px: int = 48) -> np.ndarray:
    """Return uint8 (size, size) in {0, 1} with an ellipse for each x, y, half-axes."""
    labels = np.zeros((size_px, size_px), np.uint8)
    for x, y, along, across in lesions:
        cv2.ellipse(labels, (x, y), (along, across), 0, 0, 360, 1, -1)
    return labels


def write_set(folder: Path, masks: Mapping[str, np.ndarray], classes: str = "lesion", box: str = "") -> PairSet:
    """Write a pair set of grey images with these masks by id."""
    pairs = []
    for name, labels in masks.items():
        pair = Pair(name, *file_names(name), "train", "real", "somewhere", "patient", classes=classes, box=box)
        write_image(folder / pair.image, np.full((*labels.shape, 3), 90, np.uint8))
        write_mask(folder / pair.mask, labels, len(classes.split("|")))
        pairs.append(complete(folder, pair))
    return write_manifest(folder, pairs)
