"""Networks by name. Each takes float (B, 3, H, W), sides multiples of 32, and gives logits of any size asked for."""

from typing import Protocol

from torch import nn

from segmentation.config.networks import NetworkConfig
from segmentation.networks.ctnet import build_ctnet
from segmentation.networks.encoders import checked_encoder
from segmentation.networks.plain_unet import build_plain_unet
from segmentation.networks.polyp_pvt import build_polyp_pvt
from segmentation.networks.sanet import build_sanet
from segmentation.networks.segformer import build_segformer
from segmentation.networks.unet import build_unet


class Build(Protocol):
    """What makes a network of a row, with or without the pretrained weights that the row names."""

    def __call__(self, row: NetworkConfig, *, pretrained: bool) -> nn.Module: ...


NETWORKS: dict[str, Build] = {
    "sanet": build_sanet,
    "polyp_pvt": build_polyp_pvt,
    "ctnet": build_ctnet,
    "plain_unet": build_plain_unet,
    "unet": build_unet,
    "segformer": build_segformer,
}


def build_network(row: NetworkConfig, *, pretrained: bool = True) -> nn.Module:
    """Return the network of a row, in training mode, with random weights from torch's global generator.

    Its encoder has the pretrained weights that the row names, unless `pretrained` is false: then nothing is fetched or
    read, for a caller that has all the weights. Called with images (B, 3, H, W) and a size (that of the images by
    default), it returns Outputs.

    Raises: UserError when the encoder is unknown or unfit, or its pretrained weights cannot be had or do not fit.
    """
    with checked_encoder(row):
        return NETWORKS[row.network](row, pretrained=pretrained)
