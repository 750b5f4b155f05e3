"""StyleGAN2's residual discriminator, of images or of images with their masks."""

import math

import torch
from torch import Tensor, nn

from siamese.dfmgan.generator import CONSTANT, channels
from siamese.dfmgan.layers import EqualConv, EqualLinear, activate

GROUP = 4  # samples that share a deviation


class Halving(nn.Module):
    """Two convolutions and a skip, from one resolution to the next smaller one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, 3)
        self.second = EqualConv(inputs, outputs, 3, halve=True)
        self.skip = EqualConv(inputs, outputs, 1, bias=False, halve=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H / 2, W / 2)."""
        changed = activate(self.second(activate(self.first(features))))
        return (changed + self.skip(features)) * math.sqrt(0.5)


def batch_deviation(features: Tensor) -> Tensor:
    """Return one map (B, 1, H, W): the mean over a group's features of their deviation within the group.

    Sample i is of the group of i modulo the number of groups; a group has as many samples as divide the batch, up to 4.
    """
    count = len(features)
    size = next(size for size in range(min(GROUP, count), 0, -1) if count % size == 0)
    groups = features.float().unflatten(0, (size, count // size))
    variance = (groups - groups.mean(0)).square().mean(0)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat(size)
    return deviation[:, None, None, None].expand(-1, 1, *features.shape[2:]).to(features.dtype)


class Discriminator(nn.Module):
    """A score for each image: high for what it takes for real."""

    def __init__(self, inputs: int, side: int, base: int, most: int) -> None:
        super().__init__()
        widths = channels(side, base, most)
        sides = sorted(widths, reverse=True)
        self.from_pixels = EqualConv(inputs, widths[side], 1)
        self.blocks = nn.Sequential(*(Halving(widths[r], widths[r // 2]) for r in sides[:-1]))
        width = widths[CONSTANT]
        self.last = EqualConv(width + 1, width, 3)
        self.hidden = EqualLinear(width * CONSTANT**2, width)
        self.score = EqualLinear(width, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 scores (B,) for (B, inputs, side, side) in about [-1, 1]."""
        features = self.blocks(activate(self.from_pixels(pixels)))
        features = activate(self.last(torch.cat([features, batch_deviation(features)], 1)))
        return self.score(activate(self.hidden(features.flatten(1))))[:, 0].float()
