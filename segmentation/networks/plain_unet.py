"""The plain U-Net that the paper's own code is said to use (Awesome-U-Net); spec/segmenters.md, section 5.1."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import check_sides, enlarge, resize
from segmentation.networks.outputs import Outputs


def _double_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return two 3x3 convolutions with ReLU, without normalisation."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.ReLU(),
    )


class PlainUNet(nn.Module):
    """Four levels, no normalisation, no pretrained part, two classes."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(map(_double_conv, (3, *widths), widths))
        below = widths[:0:-1]
        self.up = nn.ModuleList(
            _double_conv(deep + skip, skip) for deep, skip in zip(below, widths[-2::-1], strict=True)
        )
        self.predict = nn.Conv2d(widths[0], 2, 1)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Outputs:
        """Return one map (B, 2, *size), background and lesion, for images (B, 3, H, W).

        Raises: UserError when a side is no multiple of 32.
        """
        check_sides(images)
        skips, maps = [], images
        for number, level in enumerate(self.down):
            maps = level(functional.max_pool2d(maps, 2) if number else maps)
            skips.append(maps)
        for level, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            maps = level(torch.cat([enlarge(maps, 2, align_corners=False), skip], dim=1))
        return Outputs((resize(self.predict(maps), size or images.shape[-2:]),))


def build_plain_unet(row: NetworkConfig, *, pretrained: bool) -> PlainUNet:
    """Return a plain U-Net of the row's four widths; there are no weights that it could start from."""
    return PlainUNet(row.widths())
