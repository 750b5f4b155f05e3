"""SegFormer (Xie et al. 2021, as built by segmentation_models_pytorch); spec/segmenters.md, section 5.2."""

from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder

from segmentation.config.networks import NetworkConfig
from segmentation.networks.encoders import build_encoder
from segmentation.networks.library import LibraryNetwork

DROPOUT = 0.1  # of whole channels before the classifier, as in the authors' code; the library has none


def build_segformer(row: NetworkConfig, *, pretrained: bool) -> LibraryNetwork:
    """Return a SegFormer whose head has the one width of the row."""
    encoder, width = build_encoder(row, pretrained=pretrained), row.widths()[0]
    decoder = SegformerDecoder(encoder.out_channels, segmentation_channels=width)
    return LibraryNetwork(encoder, decoder, SegmentationHead(width, 1, kernel_size=1, upsampling=4), DROPOUT)
