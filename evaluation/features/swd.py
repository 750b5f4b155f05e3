"""Sliced Wasserstein distance between patches of Laplacian pyramids (Karras et al. 2018, section 5). No network."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import conv2d, pad

from data.pairs.seeds import item_seed
from evaluation.features.images import Images

LEVELS = 4
SMALLEST_PX = 16
PATCH_PX = 7
PATCHES = 48
DIRECTIONS = 128
COLUMNS = 16
DEFINITION = (
    "Sliced Wasserstein distance between 7x7 patches, mean over the levels of a Laplacian pyramid, in standard "
    "deviations of the real patches' colour channel; mean over seeds of the directions."
)


def level_sizes(size_px: int) -> list[int]:
    """Return the sides of the pyramid's levels in px, finest first: at most 4, halved while at least 16 px are left."""
    sizes = [size_px]
    while len(sizes) < LEVELS and sizes[-1] // 2 >= SMALLEST_PX:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def _blur(x: torch.Tensor) -> torch.Tensor:
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (line[:, None] * line).expand(3, 1, 5, 5)
    return conv2d(pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)


def _enlarge(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = 4 * x
    return _blur(spread)[..., : like.shape[2], : like.shape[3]]


def laplacian_pyramid(images: torch.Tensor, levels: int) -> list[torch.Tensor]:
    """Return `levels` tensors (N, 3, h, w), finest first: each what the next, coarser one lacks; the last the rest."""
    pyramid = []
    for _ in range(levels - 1):
        smaller = _blur(images)[..., ::2, ::2]
        pyramid.append(images - _enlarge(smaller, images))
        images = smaller
    return [*pyramid, images]


def descriptors(images: np.ndarray, ids: Sequence[str]) -> list[torch.Tensor]:
    """Return one float32 (N * 48, 3, 7, 7) a level, finest first, from uint8 (N, H, W, 3).

    The places of an image's patches follow from its id alone, so neither order nor batch size matters.
    """
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    rngs = [np.random.default_rng(item_seed("swd patches", name)) for name in ids]
    found = []
    for level in laplacian_pyramid(x, len(level_sizes(min(images.shape[1:3])))):
        high = [side - PATCH_PX + 1 for side in level.shape[2:]]
        places = torch.from_numpy(np.stack([rng.integers(0, high, (PATCHES, 2)) for rng in rngs]))
        windows = level.unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1).permute(0, 2, 3, 1, 4, 5)
        found.append(windows[torch.arange(len(level))[:, None], places[..., 0], places[..., 1]].flatten(0, 1))
    return found


def set_descriptors(images: Images, *, batch: int) -> list[torch.Tensor]:
    """Return the descriptors of a whole set, batch by batch."""
    ids, parts = images.ids, []
    for number, some in enumerate(images.batches(batch)):
        parts.append(descriptors(some, ids[number * batch : number * batch + len(some)]))
    return [torch.cat(level) for level in zip(*parts, strict=True)]


def wasserstein_1d(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return, column by column, the 1-Wasserstein distance between (n, k) and (m, k) samples; n and m may differ."""
    n, m = len(a), len(b)
    a, b = a.sort(0).values, b.sort(0).values
    if n == m:
        return (a - b).abs().mean(0)
    # Both quantile functions are steps; between neighbouring edges, counted in units of 1 / (n * m), both are constant.
    edges = torch.cat([torch.arange(n) * m, torch.arange(1, m + 1) * n]).unique()
    widths = edges.diff()
    at, of = edges[:-1] // m, edges[:-1] // n
    columns = zip(a.split(COLUMNS, 1), b.split(COLUMNS, 1), strict=True)  # a few at a time: the gaps are n + m long
    return torch.cat([((x[at] - y[of]).abs() * widths[:, None]).sum(0) for x, y in columns]) / (n * m)


def swd(
    real: Sequence[torch.Tensor], synthetic: Sequence[torch.Tensor], generator: torch.Generator
) -> tuple[float, list[float]]:
    """Return the mean over the levels and the value of each level, finest first, from `descriptors` of both sets.

    Both sets are normalised with the channel statistics of the real one, so a shift of colour counts.
    """
    values = []
    for a, b in zip(real, synthetic, strict=True):
        mean, sd = a.mean((0, 2, 3), keepdim=True), a.std((0, 2, 3), keepdim=True).clamp_min(1e-8)
        directions = torch.randn(3 * PATCH_PX**2, DIRECTIONS, generator=generator)
        directions /= directions.norm(dim=0)
        projected = [((x - mean) / sd).flatten(1) @ directions for x in (a, b)]
        values.append(float(wasserstein_1d(*(x.double() for x in projected)).mean()))
    return float(np.mean(values)), values
