"""Random changes of training pairs that depend on an item's seed alone."""

import os
import random
from collections.abc import Callable

import numpy as np

from segmentation.config.architectures import Augmentation

Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def build_augment(row: Augmentation) -> Augment:
    """Return a function of (image, mask, seed) that gives the changed image and mask.

    Images are uint8 (H, W, 3), masks uint8 (H, W), and both move together. What scale and shift bring into
    the frame is black and no lesion. Call it from one thread.
    """
    if row == Augmentation():
        return lambda image, mask, _seed: (image, mask)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version
    import albumentations

    steps: list[albumentations.BasicTransform] = []
    if row.flip:
        steps += [albumentations.HorizontalFlip(p=row.flip), albumentations.VerticalFlip(p=row.flip)]
    if row.rotate90:
        steps.append(albumentations.RandomRotate90(p=row.rotate90))
    if row.scale or row.shift:
        scale, shift = (1 - row.scale, 1 + row.scale), (-row.shift, row.shift)
        steps.append(albumentations.Affine(scale=scale, translate_percent=shift, p=1))
    if row.brightness_contrast or row.hue:
        light = (1 - row.brightness_contrast, 1 + row.brightness_contrast)
        colour = {"brightness": light, "contrast": light, "saturation": (1.0, 1.0), "hue": (-row.hue, row.hue)}
        steps.append(albumentations.ColorJitter(**colour, p=1))
    if row.blur:
        steps.append(albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.5), p=row.blur))
    compose = albumentations.Compose(steps)

    def augment(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        # set_random_seed would give every transform the same stream: each flip would then come with the other one
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = compose(image=image, mask=mask)
        return changed["image"], changed["mask"]

    return augment
