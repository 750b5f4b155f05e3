"""What every network sees: squares of its input size, normalised with the statistics of ImageNet."""

import numpy as np
import torch

from data.pairs.manifest import PairSet, content
from data.pairs.resize import resize_image, resize_mask

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def fit_images(images: np.ndarray, size_px: int) -> np.ndarray:
    """Return uint8 (N, size_px, size_px, 3), stretched and smoothed, from uint8 (N, H, W, 3)."""
    return np.stack([resize_image(image, size_px, antialias=True) for image in images])


def load_pairs(pair_set: PairSet, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images (N, size_px, size_px, 3) and uint8 masks (N, size_px, size_px) in {0, 1} by id.

    Padding is cut away, and lesions of any class are lesion.
    """
    images = np.zeros((len(pair_set), size_px, size_px, 3), np.uint8)
    masks = np.zeros((len(pair_set), size_px, size_px), np.uint8)
    for row, pair in enumerate(pair_set.pairs):
        images[row] = resize_image(content(pair, pair_set.image(pair)), size_px, antialias=True)
        masks[row] = resize_mask(content(pair, pair_set.mask(pair)), size_px)
    return images, masks


def normalize(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return float32 (N, 3, H, W) on the device from uint8 (N, H, W, 3), channels last in memory."""
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std
