"""Everything random and everything real that a step of DFMGAN sees."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese.base.devices import moved
from siamese.base.latents import to_signed
from siamese.config.dfmgan import DfmganRow
from siamese.dfmgan.augment import AUGMENT, Change
from siamese.dfmgan.generator import Mapping


class Pool(NamedTuple):
    """Images of the networks' side and, for lesions, their masks."""

    images: np.ndarray  # uint8 (N, side, side, 3)
    masks: np.ndarray | None = None  # bool (N, side, side)


def network_side(row: DfmganRow, images: np.ndarray) -> int:
    """Return the side of the networks' images, in px, for images (N, H, W, 3).

    Raises: UserError when the images are no squares, or the row does not fit this side.
    """
    height, width = images.shape[1:3]
    if height != width:
        raise UserError(f"dfmgan: images of {height} x {width} px are no squares", ["prepare square ones: size_px"])
    side = row.network_side(width)
    if problems := row.size_problems(width):
        raise UserError(f"dfmgan: the row does not fit its networks' images of {side} px", problems)
    return side


def as_pool(images: np.ndarray, masks: np.ndarray | None, side: int, *, mirror: bool) -> Pool:
    """Return uint8 images (N, H, W, 3) and masks (N, H, W), lesion where not 0, at `side` px by cubic resize.

    The resized mask is cut at one half. With `mirror` each is there a second time, left and right exchanged.
    """
    size = (side, side)
    small = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in images])
    cut = None
    if masks is not None:
        levels = (masks != 0).astype(np.float32)
        cut = np.stack([cv2.resize(level, size, interpolation=cv2.INTER_CUBIC) > 0.5 for level in levels])
    if mirror:
        small = np.concatenate([small, small[:, :, ::-1]])
        cut = None if cut is None else np.concatenate([cut, cut[:, :, ::-1]])
    return Pool(small, cut)


def real_pixels(pool: Pool, indices: Sequence[int], device: torch.device | str) -> Tensor:
    """Return real images, and masks of -1 and 1 as a fourth channel where there are any: (B, 3 or 4, side, side)."""
    places = list(indices)
    pixels = to_signed(pool.images[places])
    if pool.masks is not None:
        masks = torch.from_numpy(pool.masks[places]).float() * 2 - 1
        pixels = torch.cat([pixels, masks[:, None]], 1)
    return moved([pixels], device)[0].contiguous()


def generators(seed: int, positions: Sequence[int], *what: str) -> list[torch.Generator]:
    """Return one generator for each position in the training; `what` keeps the draws of one step apart."""
    return [torch.Generator().manual_seed(item_seed(seed, *what, position)) for position in positions]


def style_vectors(
    mapping: Mapping, rngs: Sequence[torch.Generator], code: int, count: int, mixing: float, device: torch.device | str
) -> Tensor:
    """Return (B, count, code): one style vector over all layers, or with probability `mixing` two, one after the other.

    Each sample's are a function of its generator.
    """
    noise, others, behind = [], [], []
    for rng in rngs:
        both = torch.randn(2, code, generator=rng)
        mixed = float(torch.rand((), generator=rng)) < mixing
        cut = int(torch.randint(1, count, (), generator=rng)) if mixed else count
        noise.append(both[0])
        others.append(both[1])
        behind.append(torch.arange(count) >= cut)
    first, second, later = moved([torch.stack(noise), torch.stack(others), torch.stack(behind)], device)
    if not mixing:
        return mapping(first)[:, None].expand(-1, count, -1)
    return torch.where(later[:, :, None], mapping(second)[:, None], mapping(first)[:, None])


def pixel_noise(sides: Sequence[int], count: int, seed: int, device: torch.device | str) -> list[Tensor]:
    """Return noise maps (count, 1, r, r) of training, drawn on the device."""
    rng = torch.Generator(device).manual_seed(seed)
    return [torch.randn((count, 1, r, r), generator=rng, device=device) for r in sides]


def changes(row: DfmganRow, rngs: Sequence[torch.Generator], side: int, probability: float) -> list[Change]:
    """Return how each sample of a batch is augmented."""
    return [AUGMENT[row.augment](rng, side, probability) for rng in rngs]
