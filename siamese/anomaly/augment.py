"""What training changes in its pairs: nothing, mirrored copies, or the published mixture; all drawn by position."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from data.pairs.seeds import item_seed

Box = tuple[int, int, int, int]  # top, bottom, left, right
DEGREES = 20.0
MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))  # axes of (..., H, W): none, either, both


class Views(NamedTuple):
    """Some pairs of one step as pixels: images (B, 3, H, W) in [-1, 1], masks (B, 1, H, W) of 0 and 1."""

    images: Tensor
    lesion: Tensor


@functools.lru_cache(maxsize=4)
def _epoch(count: int, seed: int, epoch: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(item_seed(seed, "epoch", epoch))).tolist()


def index_at(position: int, count: int, seed: int) -> int:
    """Return which of `count` pairs stands at a position of the run: that of `siamese.training.loop.pair_order`."""
    return _epoch(count, seed, position // count)[position % count]


def mirror_at(position: int, seed: int) -> int:
    """Return which of MIRRORS a position of the run takes, all alike."""
    return item_seed(seed, "mirror", position) % len(MIRRORS)


def is_augmented(step: int, seed: int) -> bool:
    """Return whether the published mixture changes the pairs of a step: all of them, with probability 1/2."""
    return bool(item_seed(seed, "augment", step) % 2)


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return an image or mask turned about its middle, each pixel the nearest one, and 0 in the corners."""
    import cv2

    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_NEAREST)


def moved_pair(image: np.ndarray, mask: np.ndarray, position: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a pair mirrored either way by chance and turned by 0 to 20 degrees, always in one direction."""
    rng = np.random.default_rng(item_seed(seed, "moves", position))
    axes = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
    degrees = float(rng.uniform(0, DEGREES))
    return turned(np.flip(image, axes).copy(), degrees), turned(np.flip(mask, axes).copy(), degrees)


def common_box(masks: Sequence[np.ndarray], step: int, seed: int) -> Box:
    """Return a crop that holds every lesion of masks (H, W), its corners uniform between them and the frame."""
    union = np.any([mask > 0 for mask in masks], axis=0)
    ys, xs = np.nonzero(union)
    height, width = union.shape
    if not len(ys):
        return 0, height, 0, width
    rng = np.random.default_rng(item_seed(seed, "crop", step))
    top, left = int(rng.integers(0, ys.min() + 1)), int(rng.integers(0, xs.min() + 1))
    bottom, right = (
        int(rng.integers(lesion.max() + 1, size + 1)) for lesion, size in ((ys, height), (xs, width))
    )  # fmt: skip
    return top, bottom, left, right


def step_box(masks: np.ndarray, step: int, batch: int, seed: int) -> Box:
    """Return the crop of a step from all of its pairs, whichever of them this process and micro-batch compute."""
    positions = range(step * batch, (step + 1) * batch)
    places = [index_at(position, len(masks), seed) for position in positions]
    moved = [moved_pair(masks[i], masks[i], p, seed)[1] for i, p in zip(places, positions, strict=True)]
    return common_box(moved, step, seed)


def cropped(images: np.ndarray, masks: np.ndarray, box: Box) -> Views:
    """Return images uint8 (B, H, W, 3) and masks (B, H, W) cut to a box and stretched to the old size."""
    top, bottom, left, right = box
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    lesion = torch.from_numpy(masks != 0).float()[:, None]
    size = images.shape[1:3]
    pixels, lesion = (tensor[..., top:bottom, left:right] for tensor in (pixels, lesion))
    pixels = interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return Views(pixels, interpolate(lesion, size=size, mode="nearest-exact"))


def augmented(
    images: np.ndarray, masks: np.ndarray, indices: Sequence[int], positions: Sequence[int], seed: int, box: Box
) -> Views:
    """Return the pairs of these indices moved and cropped as published."""
    pairs = [moved_pair(images[i], masks[i], p, seed) for i, p in zip(indices, positions, strict=True)]
    return cropped(np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs]), box)


def used_pairs(count: int, share: float) -> int:
    """Return how many pairs, from the first on, are trained on: one more than the share, as published, or all."""
    return min(count, int(np.floor(count * share)) + 1)
