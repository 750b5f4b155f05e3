"""U-Net over any encoder (Ronneberger et al. 2015, as built by segmentation_models_pytorch)."""

from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

from segmentation.config.networks import NetworkConfig
from segmentation.networks.encoders import build_encoder
from segmentation.networks.library import LibraryNetwork


def build_unet(row: NetworkConfig, *, pretrained: bool) -> LibraryNetwork:
    """Return a U-Net that uses as many stages of the encoder as the decoder has widths."""
    widths = row.widths()
    encoder = build_encoder(row, depth=len(widths), pretrained=pretrained)
    decoder = UnetDecoder(
        encoder.out_channels, widths, n_blocks=len(widths), add_center_block=row.encoder_name().startswith("vgg")
    )
    return LibraryNetwork(encoder, decoder, SegmentationHead(widths[-1], 1, kernel_size=3))
