"""SegFormer (Xie et al. 2021, as built by segmentation_models_pytorch)."""

from torch import nn

from segmentation.config import ArchitectureRow
from segmentation.networks.encoders import weights_argument


def build_segformer(row: ArchitectureRow) -> nn.Module:
    """Return a SegFormer whose head has the one width of decoder_channels (256 for mit_b0 and b1, 768 above)."""
    import segmentation_models_pytorch as smp

    return smp.Segformer(
        row.encoder,
        encoder_weights=weights_argument(row),
        decoder_segmentation_channels=row.decoder_channels[0],
        classes=1,
    )
