"""U-Net over any encoder (Ronneberger et al. 2015, as built by segmentation_models_pytorch)."""

from torch import nn

from segmentation.config import ArchitectureRow
from segmentation.networks.encoders import weights_argument


def build_unet(row: ArchitectureRow) -> nn.Module:
    """Return a U-Net that uses as many stages of the encoder as the decoder has widths."""
    import segmentation_models_pytorch as smp

    return smp.Unet(
        row.encoder,
        encoder_weights=weights_argument(row),
        encoder_depth=len(row.decoder_channels),
        decoder_channels=row.decoder_channels,
        classes=1,
    )
