"""What several networks are made of."""

from torch import Tensor, nn
from torch.nn import functional

from data.pairs.errors import UserError

STRIDE = 32  # of the deepest stage of every encoder


def check_sides(images: Tensor, least_px: int = STRIDE) -> None:
    """Raise UserError unless both sides of images (B, 3, H, W) are multiples of 32 and at least `least_px`."""
    sides = tuple(images.shape[-2:])
    if any(side % STRIDE or side < least_px for side in sides):
        raise UserError(
            f"a network was given images of {sides[0]} x {sides[1]} px",
            [f"both sides must be multiples of {STRIDE} and at least {least_px} px"],
        )


def resize(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Return maps (B, C, H, W) brought bilinearly to `size`, themselves if they have it."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def enlarge(maps: Tensor, factor: int, *, align_corners: bool) -> Tensor:
    """Return maps (B, C, H, W) as (B, C, factor H, factor W), bilinearly."""
    return functional.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=align_corners)


class ConvNorm(nn.Sequential):
    """CB of Polyp-PVT and CTNet: a convolution without bias and its normalisation. There is no ReLU (section 2)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(channels_out)
        )
