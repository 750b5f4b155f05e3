"""The dense hint encoder (DHI) of the paper, a drop-in for `ControlNetModel.controlnet_cond_embedding`.

An export for diffusers takes this file along as it is: torch and diffusers alone are imported here.
"""

from collections.abc import Sequence
from functools import wraps

import torch
from diffusers import ControlNetModel
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a SiLU, added to the input, then a SiLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(x + self.conv2(nn.functional.silu(self.conv1(x))))


class PatchMerging(nn.Module):
    """Gathers 2x2 neighbourhoods: (B, c, H, W) -> (B, 2c, H/2, W/2). Unlike Swin's, the projection has a bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.project = nn.Linear(4 * width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        cells = x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (B, H/2, row, W/2, column, c)
        patches = cells.permute(0, 1, 3, 4, 2, 5).flatten(3)  # (B, H/2, W/2, 4c), columns before rows
        return self.project(self.norm(patches)).permute(0, 3, 1, 2)


class DenseHintEncoder(nn.Module):
    """Maps a hint (B, in_channels, H, W) in [0, 1] to (B, out_channels, H/2^m, W/2^m): m = len(widths) - 2 mergings.

    Widths from the second on must double; SD 1.5 takes (16, 32, 64, 128, 256). The last convolution starts at zero, so
    that training starts from the base model. Spec: generators.md table 1.5.
    """

    def __init__(self, widths: Sequence[int], out_channels: int, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = in_channels
        for stage, width in enumerate(widths):
            layers += [nn.Conv2d(previous, width, 3, padding=1), ResidualBlock(width)]
            merges = 0 < stage < len(widths) - 1
            layers += [PatchMerging(width)] if merges else []
            previous = 2 * width if merges else width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Conv2d(previous, out_channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.gradient_checkpointing = False  # diffusers' enable_gradient_checkpointing sets it, and the function too

    def forward(self, hint: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self.out(self._gradient_checkpointing_func(self.layers, hint))
        return self.out(self.layers(hint))


class DenseHintControlNet(ControlNetModel):
    """diffusers' ControlNet with the dense hint encoder, of widths `conditioning_embedding_out_channels`, in place."""

    @wraps(ControlNetModel.__init__)  # type: ignore[misc]  # diffusers reads the names of the settings from it
    def __init__(self, *args, **settings) -> None:
        super().__init__(*args, **settings)
        shape = self.config
        self.controlnet_cond_embedding = DenseHintEncoder(
            shape.conditioning_embedding_out_channels, shape.block_out_channels[0], shape.conditioning_channels
        )
