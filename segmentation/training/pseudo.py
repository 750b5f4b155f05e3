"""Masks by a segmenter for images that have none."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.assemble import write_pair
from data.pairs.manifest import Pair, PairSet, check_one_class, file_names, write_manifest
from data.pairs.prepared import LoneImages
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.predict import load_segmenter
from segmentation.training.train import train

NO_NEW_IMAGE = {"near-copy": "yes"}  # these are photographs of patients, wherever they go
SEED = 2  # neither the judge, which measures what is trained on these masks, nor a refiner


def write_pseudo_pairs(real: PairSet, lone: LoneImages, row: ArchitectureRow, source: str, folder: Path) -> PairSet:
    """Write the images without masks as pairs, with the masks of a segmenter of `row` that saw the real pairs alone.

    Pseudo-labels (Lee, 2013): every pixel above 0.5 is lesion, and an image in which there is none keeps an empty mask.
    The pairs have the ids of the images, in their order.

    Raises: UserError when the pairs have several classes of lesion, of which a segmenter knows none, and as `train`.
    """
    check_one_class(real.pairs, "a segmenter")
    with tempfile.TemporaryDirectory() as name:
        train(real, PairSet(Path(name), ()), row, Path(name), seed=SEED, settings="judge")
        segmenter = load_segmenter(Path(name))
    pairs, empty = [], 0
    for image in lone.rows:
        pixels = lone.image(image)
        labels = (segmenter(pixels[None])[0] > 0.5).astype(np.uint8)
        empty += not labels.any()
        files = file_names(image.id)
        pair = Pair(image.id, *files, split="train", source=source, native=image.native, box=image.box)
        pair = replace(pair, classes=real.pairs[0].classes)
        pairs.append(write_pair(folder, pair, pixels, labels, NO_NEW_IMAGE))
    sys.stderr.write(f"{source}: masks for {len(pairs)} images without one; {empty} of these masks are empty\n")
    return write_manifest(folder, pairs)
