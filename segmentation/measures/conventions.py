"""Dice, IoU and more under conventions that are named, because numbers of different conventions cannot be compared.

fg_image: the foreground alone, per image, lesion where the probability is above 0.5.
classavg_image: the mean of background and foreground, per image, at the same threshold.
pooled: the pixels of all images counted together; Dice and IoU of the foreground, and the mean IoU of both classes.
polyp_thr256: the foreground alone, per image, as the mean over 256 thresholds of the stretched 8-bit map.
toolbox: what the toolbox of polyp_thr256 gives beside it (saliency.py).

Where prediction and truth both lack a class, its Dice and IoU are 1, but 0 under polyp_thr256. Formulas with an example
are in docs/evaluation.md. Source: spec/segmenters.md 4 and 5.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data.pairs.errors import UserError
from segmentation.measures.overlap import count, count_steps, dice_iou_curves, per_image, stretch, to_8_bit
from segmentation.measures.saliency import e_measure_curve, mae, s_measure, weighted_f

THRESHOLD = 0.5


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
