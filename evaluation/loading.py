"""Pair sets in memory, checked to be comparable."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.pairs.errors import UserError
from data.pairs.image_io import BadImageError
from data.pairs.manifest import PairSet, content_box
from data.pairs.resize import Box


@dataclass(frozen=True)
class Loaded:
    """The pairs of one set in the order of their ids: images uint8 (N, H, W, 3), masks uint8 (N, H, W) in {0, 1}."""

    ids: list[str]
    parents: list[str]
    images: np.ndarray
    masks: np.ndarray
    boxes: list[Box | None]  # what is no padding, where there is some

    def __len__(self) -> int:
        return len(self.ids)


def load(sets: Mapping[str, PairSet]) -> dict[str, Loaded]:
    """Return every set in memory.

    Raises: UserError that names each empty set, each file that cannot be read and each pair whose size differs from the
    first; a resize here would change the scores, so there is none.
    """
    problems = [f"{name} ({pairs.folder}) holds no pairs" for name, pairs in sets.items() if not len(pairs)]
    loaded, size = {}, None
    for name, pair_set in sets.items():
        pairs = sorted(pair_set.pairs, key=lambda pair: pair.id)
        images, masks = [], []
        for pair in pairs:
            try:
                image, mask = pair_set.image(pair), pair_set.mask(pair)
            except BadImageError as error:
                problems.append(f"{pair_set.folder}, pair {pair.id}: {error}")
                continue
            size = size or image.shape[:2]
            if not image.shape[:2] == mask.shape == size:
                problems.append(
                    f"{pair_set.folder}, pair {pair.id}: image {image.shape[:2]} and mask {mask.shape} must both be "
                    f"{size} (height, width), as the first image of the real set is: resize the set"
                )
            images.append(image)
            masks.append(mask)
        if not problems:
            parents = [pair.parent for pair in pairs]
            boxes = [content_box(pair) for pair in pairs]
            loaded[name] = Loaded([pair.id for pair in pairs], parents, np.stack(images), np.stack(masks), boxes)
    if problems:
        raise UserError(f"pair sets cannot be scored: {len(problems)} problems", problems)
    return loaded
