"""SANet (Wei et al. 2021, Shallow Attention Network for Polyp Segmentation); spec/segmenters.md, section 1.1."""

import torch
from torch import Tensor, nn

from data.pairs.errors import UserError
from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import Network, Outputs, resize
from segmentation.networks.encoders import build_encoder


def _initialize(module: nn.Module) -> None:
    """Draw the weights of a part of the head as the source does."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(module.bias)


class SANet(Network):
    """Three stages of an encoder, multiplied from the deepest to the shallowest; Res2Net50 v1b is its own encoder.

    Raises: UserError when the encoder has no deep stem: Res2Net50 v1 has the same channels, so it would do unnoticed.
    """

    align_corners = True

    def __init__(self, row: NetworkConfig, *, pretrained: bool) -> None:
        super().__init__()
        self.encoder, (width,) = build_encoder(row, pretrained=pretrained), row.widths()
        if not isinstance(getattr(getattr(self.encoder, "model", self.encoder), "conv1", None), nn.Sequential):
            raise UserError(
                f"encoder {row.encoder_name()!r} cannot serve a sanet",
                ["its stem is not three convolutions, as that of tu-res2net50d is"],
            )
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            for channels in self.encoder.out_channels[-3:]
        )
        self.predict = nn.Conv2d(3 * width, 1, 1)
        for part in (self.laterals, self.predict):
            part.apply(_initialize)

    def logits(self, images: Tensor) -> Outputs:
        """Return one map (B, 1, H/8, W/8), which is resized at once."""
        stages = self.encoder(images)[-3:]
        f3, f4, f5 = (lateral(stage) for lateral, stage in zip(self.laterals, stages, strict=True))
        f4, f5 = (resize(stage, f3.shape[-2:], align_corners=True) for stage in (f4, f5))
        return Outputs((self.predict(torch.cat([f5, f4 * f5, f3 * f4 * f5], dim=1)),))
