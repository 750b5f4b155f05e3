"""What every network returns, how it treats sizes, and the layers that several of them are made of."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class Outputs(NamedTuple):
    """Logits of the lesion, unbounded, and what a network gives beside them.

    maps: each float (B, C, H, W) of the size that was asked for; a loss is computed on every one. C is 1, or 2 for
        background and lesion.
    embedding: float (B, E, h, w) at stride 4, of length 1 over E; CTNet's, for its contrastive loss.
    """

    maps: tuple[Tensor, ...]
    embedding: Tensor | None = None

    def lesion_maps(self) -> tuple[Tensor, ...]:
        """Return the maps as (B, 1, H, W); of background and lesion the difference, whose sigmoid is their softmax."""
        return tuple(maps if maps.shape[1] == 1 else maps[:, 1:] - maps[:, :1] for maps in self.maps)

    def lesion_logit(self) -> Tensor:
        """Return the one map (B, 1, H, W) that inference reads: lesion is where it is above 0.

        Maps are added up, as Polyp-PVT does with its two (spec/segmenters.md, 1.4, 2.4, 5.1).
        """
        first, *others = self.lesion_maps()
        return sum(others, start=first)


def resize(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Return maps (B, C, H, W) brought bilinearly to `size`, themselves if they have it."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def enlarge(maps: Tensor, factor: int, *, align_corners: bool) -> Tensor:
    """Return maps (B, C, H, W) as (B, C, factor H, factor W), bilinearly."""
    return functional.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=align_corners)


class Network(nn.Module):
    """A network whose `logits` returns Outputs with maps of any size for images (B, 3, H, W).

    Both sides are multiples of 32, and large enough for the network: an architecture's row holds its sizes to that.
    """

    align_corners = False  # of the last resize

    def logits(self, images: Tensor) -> Outputs:
        """Return the maps as the head gives them."""
        raise NotImplementedError

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Outputs:
        """Return Outputs with maps (B, C, *size), by default of the images' size, for images (B, 3, H, W)."""
        outputs = self.logits(images)
        size = size or tuple(images.shape[-2:])
        maps = tuple(resize(logits, size, align_corners=self.align_corners) for logits in outputs.maps)
        return outputs._replace(maps=maps)


class ConvNorm(nn.Sequential):
    """CB of Polyp-PVT and CTNet: a convolution without bias and its normalisation. There is no ReLU (section 2)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(channels_out)
        )
