"""Networks by name. Each takes float (B, 3, H, W) and returns logits (B, 1, H, W); sides are multiples of 32."""

from collections.abc import Callable

from torch import nn

from segmentation.config import ArchitectureRow
from segmentation.networks.encoders import checked_encoder
from segmentation.networks.segformer import build_segformer
from segmentation.networks.unet import build_unet

NETWORKS: dict[str, Callable[[ArchitectureRow], nn.Module]] = {"unet": build_unet, "segformer": build_segformer}


def build_network(row: ArchitectureRow) -> nn.Module:
    """Return the network of a row, in training mode, with random weights from torch's global generator.

    Raises: UserError when the encoder is unknown or unfit, or its pretrained weights cannot be had.
    """
    with checked_encoder(row):
        return NETWORKS[row.network](row)
