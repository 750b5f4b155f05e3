"""What every network sees: squares of its input size, decoded once, and brought to numbers on the device."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from data.pairs import resize
from data.pairs.files import is_main_process, sha256_file, whole_folder
from data.pairs.manifest import MANIFEST, PairSet, content
from data.pairs.resize import resize_image, resize_mask, resize_pillow, soften_mask
from data.pretrained import lite0
from segmentation.config.architectures import ArchitectureRow, MultiScale

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HALF = (lite0.MEAN,) * 3, (lite0.STD,) * 3
CACHE = "decoded"
RESIZE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "smooth": partial(resize_image, antialias=True),
    "bilinear": partial(resize_image, antialias=False),
    "pillow": resize_pillow,
}


class Decoded(NamedTuple):
    """The pairs of a set at a network's input size, in the order of their ids."""

    images: np.ndarray  # uint8 (N, H, W, 3)
    masks: np.ndarray  # uint8 (N, H, W): the share of lesion in each pixel, in 255ths


def fit_images(images: Sequence[np.ndarray], row: ArchitectureRow) -> np.ndarray:
    """Return uint8 (N, input_px, input_px, 3), stretched, from images uint8 (H, W, 3)."""
    return np.stack([RESIZE[row.resize](image, row.input_px) for image in images])


def _decode(pair_set: PairSet, row: ArchitectureRow, decoded: Decoded) -> None:
    """Fill arrays with the pairs of a set, without padding; lesions of any class are lesion."""
    for number, pair in enumerate(pair_set.pairs):
        (decoded.images[number],) = fit_images([content(pair, pair_set.image(pair))], row)
        mask = content(pair, pair_set.mask(pair))
        small = soften_mask(mask, row.input_px) if row.soft_masks else resize_mask(mask, row.input_px) * np.uint8(255)
        decoded.masks[number] = small


def load_pairs(pair_set: PairSet, row: ArchitectureRow) -> Decoded:
    """Return all pairs of a set at the network's input size.

    They are decoded once for all runs: kept as files in .work/decoded/ under the hash of what they were made of and
    mapped from there, so that what fits stays in memory for every process. Without room on the disk, or where no
    manifest lies, they are decoded into memory.
    """
    shape = (len(pair_set), row.input_px, row.input_px)
    manifest = pair_set.folder / MANIFEST
    # a fifth of the free space at most, and an empty file cannot be mapped
    fits = len(pair_set) and 4 * int(np.prod(shape)) < shutil.disk_usage(Path.cwd()).free / 5
    if not fits or not manifest.is_file() or not is_main_process():
        decoded = Decoded(np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8))
        _decode(pair_set, row, decoded)
        return decoded
    ids = "\n".join(pair.id for pair in pair_set.pairs)
    code = " ".join(sha256_file(Path(str(module.__file__))) for module in (sys.modules[__name__], resize))
    text = f"{sha256_file(manifest)} {ids} {row.input_px} {row.resize} {row.soft_masks} {code}"
    root = Path(os.environ.get("SIAMESE_WORK", ".work")) / CACHE
    folder = root / hashlib.sha256(text.encode()).hexdigest()[:24]
    root.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # runs that start together decode once
        if not folder.is_dir():
            with whole_folder(folder) as out:
                shapes = {"images.npy": (*shape, 3), "masks.npy": shape}
                maps = [np.lib.format.open_memmap(out / name, "w+", np.uint8, of) for name, of in shapes.items()]
                _decode(pair_set, row, Decoded(*maps))
                for array in maps:
                    array.flush()
    return Decoded(*(np.load(folder / name, mmap_mode="r") for name in ("images.npy", "masks.npy")))


def mean_std(row: ArchitectureRow) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (1, 3, 1, 1) of RGB in [0, 1] that the row's encoder wants, where it is not min_max."""
    mean, std = HALF if row.normalize == "half" else (MEAN, STD)
    return torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)


def normalize(images: np.ndarray, row: ArchitectureRow, device: torch.device) -> Tensor:
    """Return float32 (N, 3, H, W) on the device from uint8 (N, H, W, 3), channels last in memory."""
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    if row.normalize == "min_max":
        low, high = (extreme(pixels, dim=(1, 2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
        return (pixels - low) / (high - low).clamp(min=1)
    mean, std = (values.to(device) for values in mean_std(row))
    return (pixels / 255 - mean) / std


def as_targets(masks: np.ndarray, device: torch.device) -> Tensor:
    """Return float32 (N, 1, H, W) in [0, 1] on the device from uint8 (N, H, W) in 255ths."""
    return torch.from_numpy(masks).to(device).float()[:, None] / 255


def scaled_sizes(scales: MultiScale | None, input_px: int, rng: np.random.Generator) -> list[int]:
    """Return the sides in px at which a batch is seen, one after the other."""
    if scales is None:
        return [input_px]
    sizes = scales.sizes(input_px)
    if scales.draw == "each":
        return sizes
    shares = np.array(scales.probabilities or [1] * len(sizes), float)
    return [int(rng.choice(sizes, p=shares / shares.sum()))]


def at_size(inputs: Tensor, targets: Tensor, size_px: int, row: ArchitectureRow) -> tuple[Tensor, Tensor]:
    """Return images and masks (B, C, size_px, size_px): images bilinear, masks too where they are soft."""
    if inputs.shape[-1] == size_px:
        return inputs, targets
    corners = bool(row.scales and row.scales.align_corners)
    size = (size_px, size_px)
    images = functional.interpolate(inputs, size, mode="bilinear", align_corners=corners)
    if row.soft_masks:
        return images, functional.interpolate(targets, size, mode="bilinear", align_corners=corners)
    return images, functional.interpolate(targets, size, mode="nearest")
