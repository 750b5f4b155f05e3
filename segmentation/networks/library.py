"""U-Net (Ronneberger et al. 2015) and SegFormer (Xie et al. 2021) of segmentation_models_pytorch.

With this project's encoders and outputs. SegFormer: spec/segmenters.md, section 5.2.
"""

from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import Network, Outputs
from segmentation.networks.encoders import build_encoder

DROPOUT = 0.1  # of whole channels before SegFormer's classifier, as in the authors' code; the library has none


class LibraryNetwork(Network):
    """An encoder, a decoder and a head of the library, put together and initialised as the library does."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = encoder, decoder, head
        self.dropout = nn.Dropout2d(dropout)
        initialize_decoder(decoder)
        initialize_head(head)

    def logits(self, images: Tensor) -> Outputs:
        """Return one map (B, 1, H, W)."""
        return Outputs((self.segmentation_head(self.dropout(self.decoder(self.encoder(images)))),))


def build_unet(row: NetworkConfig, *, pretrained: bool) -> LibraryNetwork:
    """Return a U-Net that uses as many stages of the encoder as the decoder has widths."""
    widths = row.widths()
    encoder = build_encoder(row, depth=len(widths), pretrained=pretrained)
    decoder = UnetDecoder(
        encoder.out_channels, widths, n_blocks=len(widths), add_center_block=row.encoder_name().startswith("vgg")
    )
    return LibraryNetwork(encoder, decoder, SegmentationHead(widths[-1], 1, kernel_size=3))


def build_segformer(row: NetworkConfig, *, pretrained: bool) -> LibraryNetwork:
    """Return a SegFormer whose head has the one width of the row."""
    encoder, width = build_encoder(row, pretrained=pretrained), row.widths()[0]
    decoder = SegformerDecoder(encoder.out_channels, segmentation_channels=width)
    return LibraryNetwork(encoder, decoder, SegmentationHead(width, 1, kernel_size=1, upsampling=4), DROPOUT)
