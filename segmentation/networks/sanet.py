"""SANet (Wei et al. 2021, Shallow Attention Network for Polyp Segmentation); spec/segmenters.md, section 1.1."""

import torch
from torch import Tensor, nn

from data.pairs.errors import UserError
from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import check_sides, resize
from segmentation.networks.encoders import build_encoder
from segmentation.networks.outputs import Outputs


def _lateral(channels: int, width: int) -> nn.Sequential:
    """Return what brings a stage of the encoder to the width of the head."""
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())


def _initialize(module: nn.Module) -> None:
    """Draw the weights of a part of the head as the source does."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(module.bias)


class SANet(nn.Module):
    """Three stages of an encoder, multiplied from the deepest to the shallowest."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.laterals = nn.ModuleList(_lateral(channels, width) for channels in encoder.out_channels[-3:])
        self.predict = nn.Conv2d(3 * width, 1, 1)
        for part in (self.laterals, self.predict):
            part.apply(_initialize)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Outputs:
        """Return one map (B, 1, *size), resized from stride 8 at once, for images (B, 3, H, W).

        Raises: UserError when a side is no multiple of 32.
        """
        check_sides(images)
        stages = self.encoder(images)[-3:]
        f3, f4, f5 = (lateral(stage) for lateral, stage in zip(self.laterals, stages, strict=True))
        f4, f5 = (resize(stage, f3.shape[-2:], align_corners=True) for stage in (f4, f5))
        logits = self.predict(torch.cat([f5, f4 * f5, f3 * f4 * f5], dim=1))
        return Outputs((resize(logits, size or images.shape[-2:], align_corners=True),))


def build_sanet(row: NetworkConfig, *, pretrained: bool) -> SANet:
    """Return a SANet, over Res2Net50 v1b unless the row names another encoder.

    Raises: UserError when the encoder has no deep stem: Res2Net50 v1 has the same channels, so it would do unnoticed.
    """
    encoder = build_encoder(row, pretrained=pretrained)
    stem = getattr(getattr(encoder, "model", encoder), "conv1", None)
    if not isinstance(stem, nn.Sequential):
        raise UserError(
            f"encoder {row.encoder_name()!r} cannot serve a sanet",
            ["its stem is not three convolutions, as that of tu-res2net50d is"],
        )
    return SANet(encoder, row.widths()[0])
