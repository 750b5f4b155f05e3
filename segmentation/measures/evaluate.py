"""Testing a segmenter: one pass over every test set, then flat numbers and their details.

Dice, IoU and more stand under conventions that are named, because numbers of different conventions cannot be compared.

fg_image: the foreground alone, per image, lesion where the probability is above 0.5.
classavg_image: the mean of background and foreground, per image, at the same threshold.
pooled: the pixels of all images counted together; Dice and IoU of the foreground, and the mean IoU of both classes.
polyp_thr256: the foreground alone, per image, as the mean over 256 thresholds of the stretched 8-bit map.
toolbox: what the toolbox of polyp_thr256 gives beside it (saliency.py).

Where prediction and truth both lack a class, its Dice and IoU are 1, but 0 under polyp_thr256. Formulas with an example
are in docs/evaluation.md. Source: spec/segmenters.md 4 and 5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.pairs.errors import UserError
from data.pairs.manifest import PairSet, content
from segmentation.inference.predict import Segmenter
from segmentation.measures.overlap import count, count_steps, dice_iou_curves, per_image, pooled, stretch, to_8_bit
from segmentation.measures.saliency import e_measure_curve, mae, s_measure, weighted_f

THRESHOLD = 0.5
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


@dataclass(frozen=True)
class Measures:
    """What was measured on one test set: true and false positives and negatives, and scores by convention."""

    ids: tuple[str, ...]
    counts: np.ndarray  # int64 (N, 4): true positives, false positives, false negatives, true negatives, in pixels
    images: dict[str, np.ndarray]  # "convention/score" -> float64 (N,) in [0, 1]
    curves: dict[str, np.ndarray]  # "convention/score" -> float64 (256,), the mean over images at threshold k / 255


def measure(
    probabilities: Iterable[np.ndarray], masks: Iterable[np.ndarray], ids: Sequence[str], *, stretch_maps: bool = False
) -> Measures:
    """Return the counts and scores of one test set.

    Probabilities are float (H, W) in [0, 1] and masks uint8 (H, W) in {0, 1}, one each an image and of any size, as a
    list, a stack (N, H, W) or a generator: they are taken one at a time and not kept. With `stretch_maps` each is
    brought to 0-1 before it becomes 8 bits, for the measures over thresholds alone (spec/segmenters.md 2.4, 3.4).

    Raises: UserError naming an image whose map is not finite, which would count as one without lesion.

    >>> probability, mask = np.array([[0.9, 0.8], [0.2, 0.1]]), np.array([[1, 0], [0, 0]], np.uint8)
    >>> measures = measure([probability], [mask], ["a"])
    >>> measures.counts.tolist()
    [[1, 1, 0, 2]]
    >>> {name: round(float(measures.images[name][0]), 3) for name in ("fg_image/dice", "fg_image/iou")}
    {'fg_image/dice': 0.667, 'fg_image/iou': 0.5}
    """
    counts: list[list[int]] = []
    scores: dict[str, list[float]] = {}
    sums: dict[str, np.ndarray] = {}
    for image, probability, mask in zip(ids, probabilities, masks, strict=True):
        if probability.shape != mask.shape:
            raise ValueError(f"{image}: a map {probability.shape} for a mask {mask.shape}: both must have one size")
        if not np.isfinite(probability).all():
            raise UserError(
                f"the segmenter's map of {image} is not finite (NaN or infinite)",
                ["its weights are broken or overflow: train it again, with a lower lr or in full precision"],
            )
        lesion = mask > 0
        counts.append(count(probability > THRESHOLD, lesion))
        if stretch_maps:
            probability = (probability - probability.min()) / (np.ptp(probability) + 1e-8)
        saved = to_8_bit(probability)
        steps, stretched = count_steps(saved, lesion), stretch(saved)
        dice, iou = dice_iou_curves(steps)
        curves = {"polyp_thr256/dice": dice, "polyp_thr256/iou": iou, "toolbox/e_measure": e_measure_curve(steps)}
        for name, curve in curves.items():
            sums[name] = sums.get(name, 0) + curve
            scores.setdefault(name, []).append(float(curve.mean()))
        for of in (mae, s_measure, weighted_f):
            scores.setdefault(f"toolbox/{of.__name__}", []).append(of(stretched, lesion))
    table = np.array(counts, dtype=np.int64).reshape(-1, 4)
    of_images = per_image(table) | {name: np.array(values) for name, values in scores.items()}
    return Measures(tuple(ids), table, of_images, {name: total / len(ids) for name, total in sums.items()})


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
