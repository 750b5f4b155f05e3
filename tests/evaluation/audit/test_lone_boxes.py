"""The copy audit looks at images without masks as at pairs: without the bars of a letterbox."""

import numpy as np

from data.pairs.image_io import write_image
from data.pairs.prepared import LoneImage, LoneImages
from evaluation.audit.per_image import inspect_lone


def test_bars_are_cut_off_before_images_are_compared(tmp_path):
    content = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
    framed = np.zeros((64, 64, 3), np.uint8)
    framed[16:48] = content
    rows = []
    for name, image, box in (("bare", content, ""), ("boxed", framed, "0 16 64 32"), ("barred", framed, "")):
        write_image(tmp_path / f"{name}.png", image)
        rows.append(LoneImage(name, f"{name}.png", "", "64x32", "", box))
    bare, boxed, barred = inspect_lone(LoneImages(tmp_path, tuple(rows)), batch=3)["thumbnails"]
    assert np.array_equal(boxed, bare)
    assert not np.array_equal(barred, bare)
