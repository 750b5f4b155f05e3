"""What is measured of every image by itself."""

from dataclasses import replace

import numpy as np

from data.pairs.manifest import PairSet
from evaluation.audit.per_image import inspect_images
from evaluation.features.images import Images


def test_padding_is_neither_content_nor_colour(draw, judge, images_of) -> None:
    images, masks = draw(3, 0)
    padded, margin = np.zeros((3, 64, 96, 3), np.uint8), ((0, 0), (0, 0), (16, 16))
    padded[:, :, 16:80] = images
    plain, boxed = images_of(images, masks), images_of(padded, np.pad(masks, margin), "q").set
    boxed = Images(PairSet(boxed.folder, tuple(replace(pair, box="16 0 64 64") for pair in boxed.pairs)))
    one, two = (inspect_images({"train": each}, judge, batch=2)["train"] for each in (plain, boxed))
    for name in ("thumbnails", "lab_mean", "lab_sd", "lab_histogram"):
        np.testing.assert_array_equal(one[name], two[name])
