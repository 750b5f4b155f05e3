"""Changes of training pairs that depend on an item's seed alone: augmentation, and colour exchange.

In colour exchange an image takes mean and spread of the LAB channels of a donor (spec/segmenters.md 1.3, SANet).
"""

import os
import random
from collections.abc import Callable, Sequence

import numpy as np

from data.pairs.errors import UserError
from segmentation.config.architectures import Augmentation, ColourExchange

Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
ALL = "*"  # pools of every domain


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


def exchange(image: np.ndarray, donor: np.ndarray, *, wrap: bool) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB with the donor's mean and standard deviation in each 8-bit LAB channel.

    The whole frame counts, black borders included. A channel of one value takes the donor's mean. Values beyond 0-255
    are cut off, or wrap around as the official cast to 8 bits lets them.
    """
    import cv2

    lab, other = (cv2.cvtColor(array, cv2.COLOR_RGB2LAB).astype(np.float64) for array in (image, donor))
    spread = lab.std(axis=(0, 1))
    gain = np.divide(other.std(axis=(0, 1)), spread, out=np.zeros(3), where=spread > 0)
    moved = (lab - lab.mean(axis=(0, 1))) * gain + other.mean(axis=(0, 1))
    whole = np.trunc(moved).astype(np.int64)
    cast = (whole % 256 if wrap else whole.clip(0, 255)).astype(np.uint8)
    return cv2.cvtColor(cast, cv2.COLOR_LAB2RGB)


def donor_chooser(row: ColourExchange, domains: Sequence[str]) -> Callable[[int, int], int]:
    """Return the function of (position of a pair, seed) that gives the position of its donor.

    Only the pool is drawn; within it the donor is the pair at position modulo the size of the pool, as in the official
    code. The pools are the domains of the manifest, where the official code goes by file names.

    Raises: UserError for a pool whose domain no pair has.
    """
    pools = {name: [i for i, domain in enumerate(domains) if name in (domain, ALL)] for name in row.pools}
    empty = sorted(name for name, members in pools.items() if not members)
    if empty:
        there = ", ".join(sorted({repr(domain) for domain in domains}))
        raise UserError(
            f"colour_exchange: no training pair is of the domain {', '.join(empty)}",
            [f"the domains of the training pairs are {there}", "name those in colour_exchange.pools, or * for all"],
        )
    names, shares = list(row.pools), np.cumsum([row.pools[name] for name in row.pools])

    def choose(position: int, seed: int) -> int:
        drawn = np.random.default_rng(seed).random()
        pool = pools[names[min(int(np.searchsorted(shares, drawn, side="right")), len(names) - 1)]]
        return pool[position % len(pool)]

    return choose
