"""The plain U-Net that the paper's own code is said to use (Awesome-U-Net); spec/segmenters.md, section 5.1."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import Network, Outputs, enlarge


def _double_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.ReLU(),
    )


class PlainUNet(Network):
    """Four levels, no normalisation, two classes; there are no weights that it could start from."""

    def __init__(self, row: NetworkConfig, *, pretrained: bool) -> None:
        super().__init__()
        widths = row.widths()
        self.down = nn.ModuleList(map(_double_conv, (3, *widths), widths))
        below = widths[:0:-1]
        self.up = nn.ModuleList(
            _double_conv(deep + skip, skip) for deep, skip in zip(below, widths[-2::-1], strict=True)
        )
        self.predict = nn.Conv2d(widths[0], 2, 1)

    def logits(self, images: Tensor) -> Outputs:
        """Return one map (B, 2, H, W), background and lesion."""
        skips, maps = [], images
        for number, level in enumerate(self.down):
            maps = level(functional.max_pool2d(maps, 2) if number else maps)
            skips.append(maps)
        for level, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            maps = level(torch.cat([enlarge(maps, 2, align_corners=False), skip], dim=1))
        return Outputs((self.predict(maps),))
