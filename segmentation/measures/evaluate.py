"""Testing a trained segmenter: one pass of predictions over every test set, then flat numbers and their details."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data.pairs.errors import UserError
from data.pairs.manifest import PairSet, content
from segmentation.inference.predict import Segmenter
from segmentation.measures.conventions import Measures, measure
from segmentation.measures.overlap import pooled

FLAT = {
    "mDice": "fg_image/dice",
    "mIoU": "fg_image/iou",
    "mDice_classavg": "classavg_image/dice",
    "mIoU_classavg": "classavg_image/iou",
    "mDice_pooled": "pooled/dice",
    "mIoU_pooled": "pooled/iou",
    "mIoU_two_class_pooled": "pooled/iou_two_class",
    "mDice_thr256": "polyp_thr256/dice",
    "mIoU_thr256": "polyp_thr256/iou",
    "maxDice_thr256": "polyp_thr256/max_dice",
    "mae": "toolbox/mae",
    "s_measure": "toolbox/s_measure",
    "weighted_f": "toolbox/weighted_f",
    "e_measure": "toolbox/e_measure",
    "e_measure_max": "toolbox/e_measure_max",
}
"""Name in the flat metrics -> convention/score."""


def overall(per_set: Mapping[str, tuple[int, float]]) -> float:
    """Return the mean of values weighted by the number of images, from {test set: (images, value)}.

    For means over images this is the mean over all images. Source: spec/segmenters.md 4, the paper's Overall.

    >>> overall({"kvasir": (100, 0.9), "clinicdb": (300, 0.8)})
    0.825
    """
    return sum(n * value for n, value in per_set.values()) / sum(n for n, _ in per_set.values())


def _values(measures: Measures) -> dict[str, float]:
    """Return one number for each convention/score of a test set; the largest of a curve is that of the mean curve."""
    return {
        **{key: float(values.mean()) for key, values in measures.images.items()},
        **pooled(measures.counts),
        "polyp_thr256/max_dice": float(measures.curves["polyp_thr256/dice"].max()),
        "toolbox/e_measure_max": float(measures.curves["toolbox/e_measure"].max()),
    }


def _spread(values: np.ndarray) -> dict[str, object]:
    """Return the mean and the standard deviation over images (n - 1), null with a reason for a single image."""
    mean = float(values.mean())
    if len(values) == 1:
        return {"mean": mean, "sd": None, "sd_reason": "a spread takes two images or more"}
    return {"mean": mean, "sd": float(values.std(ddof=1))}


def _details(measures: Measures, values: Mapping[str, float]) -> dict[str, object]:
    return {
        "n": len(measures.ids),
        "metrics": {flat: values[key] for flat, key in FLAT.items()},
        **{key: _spread(of_images) for key, of_images in measures.images.items()},
        **{key: value for key, value in values.items() if key not in measures.images},
        "images": [
            {"id": image, **{key: float(of_images[row]) for key, of_images in measures.images.items()}}
            for row, image in enumerate(measures.ids)
        ],
    }


def summarize(per_test_set: Mapping[str, Measures]) -> dict[str, dict[str, Any]]:
    """Return {"metrics": flat numbers over all test sets, "test_sets": details of each}.

    A flat number is the mean over test sets weighted by their images, except that the names that end in _pooled are
    over the pixels of all test sets. `metrics` in the details has the same names for one test set.

    Raises: UserError for test sets without images.
    """
    empty = sorted(name for name, measures in per_test_set.items() if not measures.ids)
    if empty or not per_test_set:
        raise UserError("nothing to measure on", [f"test set {name} holds no images" for name in empty])
    values = {name: _values(measures) for name, measures in per_test_set.items()}
    of_pixels = pooled(np.concatenate([measures.counts for measures in per_test_set.values()]))
    metrics: dict[str, object] = {"images": sum(len(measures.ids) for measures in per_test_set.values())}
    for flat, key in FLAT.items():
        of_sets = {name: (len(measures.ids), values[name][key]) for name, measures in per_test_set.items()}
        metrics[flat] = of_pixels[key] if key in of_pixels else overall(of_sets)
    return {
        "metrics": metrics,
        "test_sets": {name: _details(measures, values[name]) for name, measures in per_test_set.items()},
    }


def measure_set(segmenter: Segmenter, pairs: PairSet) -> Measures:
    """Return what a segmenter gets on one test set, at the images' own sizes and without padding.

    Each image is measured as soon as it is predicted, and its map forgotten.
    """
    maps = (segmenter(content(pair, pairs.image(pair))[None])[0] for pair in pairs.pairs)
    masks = (content(pair, pairs.mask(pair)) for pair in pairs.pairs)
    return measure(maps, masks, [pair.id for pair in pairs.pairs], stretch_maps=segmenter.row.stretch_maps)


def evaluate(segmenter: Segmenter, test_sets: Mapping[str, PairSet]) -> dict[str, dict[str, Any]]:
    """Return what `summarize` returns of a segmenter on all test sets.

    Raises: UserError for test sets without images.
    """
    return summarize({name: measure_set(segmenter, pairs) for name, pairs in test_sets.items()})
