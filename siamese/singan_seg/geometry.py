"""The scales of a pyramid, and how images get from one to the next."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from data.pairs.errors import UserError
from siamese.config.singan_seg import SinganSegRow

ROUNDING = 1e-9
REACH = 2.0  # of the cubic kernel, px


class Scales(NamedTuple):
    """The sizes of a pyramid, coarsest first."""

    first: float  # factor from the image to the finest scale
    factor: float  # of the sides of two neighbouring scales, below 1
    sides: tuple[tuple[int, int], ...]  # height, width in px
    widths: tuple[int, ...]  # channels of the networks


def scales_of(row: SinganSegRow, height: int, width: int) -> Scales:
    """Return the scales for images of this size. Raises: UserError when it is too small for two of them."""
    if problems := row.size_problems(min(height, width)):
        advice = f"or give a size_px of at least {2 * row.min_size}"
        raise UserError(f"singan_seg: images of {height} x {width} px are too small", [*problems, advice])

    def steps_to(share: float) -> int:
        return math.ceil(math.log(share) / math.log(row.factor))

    def side(length: float) -> int:
        return math.ceil(length - ROUNDING * row.exact_sides)

    most = max(height, width)
    first = min(row.max_size / most, 1)
    last = steps_to(row.min_size / min(height, width)) + 1 - steps_to(min(row.max_size, most) / most)
    top = [side(length * first) for length in (height, width)]
    factor = (row.min_size / min(top)) ** (1 / last)
    sides = tuple((side(top[0] * factor**up), side(top[1] * factor**up)) for up in range(last, -1, -1))
    widths = tuple(min(row.width * 2 ** (scale // 4), row.width_most) for scale in range(last + 1))
    return Scales(first, factor, sides, widths)


def _cubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= REACH))


def resize_weights(length: int, scale: float, count: int, kind: str = "cubic") -> Tensor:
    """Return float64 (count, length): the first so many outputs of a row of this length, resized by `scale`.

    The cubic kernel (a = -1/2) is widened where it reduces, coordinates follow the scale and not the ratio of lengths,
    and beyond the border lies the mirrored image. Rows sum to 1. `nearest` takes one input each.
    """
    centre = (torch.arange(count, dtype=torch.float64) + 0.5) / scale - 0.5
    weights = torch.zeros(count, length, dtype=torch.float64)
    if kind == "nearest":
        return weights.scatter_(1, (centre + 0.5).long().clamp(0, length - 1)[:, None], 1.0)
    shrink = min(scale, 1.0)
    taps = math.ceil(2 * REACH / shrink) + 2
    places = (centre - REACH / shrink).floor()[:, None] + torch.arange(taps)
    taken = _cubic((centre[:, None] - places) * shrink)
    mirrored = places.long() % (2 * length)
    mirrored = torch.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    return weights.scatter_add_(1, mirrored, taken / taken.sum(1, keepdim=True))


@lru_cache(maxsize=256)
def _weights_at(length: int, scale: float, count: int, kind: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    return resize_weights(length, scale, count, kind).to(device, dtype)


def resize(images: Tensor, scale: float, sides: tuple[int, int], row: SinganSegRow) -> Tensor:
    """Return images (B, C, H, W) in [-1, 1], the last of each four channels a mask, resized by `scale` to these sides.

    With row.requantize they are cut to 8 bits before, by leaving out the rest, as the released code does.
    """
    images = images.clamp(-1, 1)
    if row.requantize:
        images = (255 * ((images + 1) / 2)).floor() / 255 * 2 - 1

    def by(kind: str, part: Tensor) -> Tensor:
        tall, wide = (
            _weights_at(length, scale, side, kind, part.dtype, part.device)
            for length, side in zip(part.shape[-2:], sides, strict=True)
        )
        return tall @ part @ wide.T

    if row.mask_resize == "nearest":
        four = images.unflatten(1, (-1, 4))
        resized = torch.cat([by("cubic", four[:, :, :3]), by("nearest", four[:, :, 3:])], 2).flatten(1, 2)
    else:
        resized = by("cubic", images)
    return resized.clamp(-1, 1)


def pyramid_of(image: Tensor, scales: Scales, row: SinganSegRow) -> list[Tensor]:
    """Return an image (B, C, H, W) in [-1, 1] at every scale, coarsest first."""
    top = resize(image, scales.first, scales.sides[-1], row)
    last = len(scales.sides) - 1
    return [resize(top, scales.factor ** (last - scale), sides, row) for scale, sides in enumerate(scales.sides)]
