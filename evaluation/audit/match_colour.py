"""Colours of synthetic images brought to those of real training images: mean and deviation of each Lab channel."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from data.pairs.errors import UserError, few
from data.pairs.manifest import Pair, PairSet, content
from evaluation.audit.colour import SMALLEST_SD, lab_statistics
from evaluation.audit.config import Match

Recolour = Callable[[Pair, np.ndarray], tuple[np.ndarray, str]]
"""A pair and its image, uint8 (H, W, 3) -> the image in its new colours, and what they are, as text for its file."""


def with_colours(image: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB with this mean and deviation (3,) of L, a and b, but for what sRGB does not have.

    A channel that hardly varies is moved and not stretched beyond a deviation of SMALLEST_SD, which is its noise.
    """
    import cv2

    lab = cv2.cvtColor(np.ascontiguousarray(image, np.float32) / 255, cv2.COLOR_RGB2LAB)
    own_mean, own_sd = lab.mean((0, 1), dtype=np.float64), lab.std((0, 1), dtype=np.float64)
    moved = (lab - own_mean) * (sd / np.maximum(own_sd, SMALLEST_SD)) + mean
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return (rgb.clip(0, 1) * 255).round().astype(np.uint8)


def recolour_to(train: PairSet, match: Match, pairs: Sequence[Pair]) -> Recolour:
    """Return the function that gives an image of these pairs the colours of its parent, or of the parent's domain.

    The colours of a domain are the means of mean and deviation over its training images. Padding stays as it is, and
    counts nowhere.

    Raises: UserError naming the pairs whose parent is not among the training pairs.
    """
    real = {pair.id: pair for pair in train.pairs}
    if orphans := [pair.id for pair in pairs if pair.parent not in real]:
        raise UserError(
            "match_colour: pairs whose parent is not among the training pairs have no colours to be given",
            [", ".join(few(orphans)), "leave match_colour out of this filter"],
        )
    needed = {pair.parent for pair in pairs} if match == "parent" else real.keys()
    groups = defaultdict(list)
    for name in sorted(needed):
        groups[real[name].id if match == "parent" else real[name].domain].append(
            content(real[name], train.image(real[name]))
        )
    colours = {}
    for group, images in groups.items():
        found = lab_statistics(images)
        colours[group] = found.mean.mean(0), found.sd.mean(0)

    def recolour(pair: Pair, image: np.ndarray) -> tuple[np.ndarray, str]:
        group = pair.parent if match == "parent" else real[pair.parent].domain
        changed = image.copy()
        content(pair, changed)[:] = with_colours(content(pair, image), *colours[group])
        return changed, f"Lab mean and deviation of the {match} {group}".rstrip()

    return recolour
