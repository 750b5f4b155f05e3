"""Networks by name. Each takes float (B, 3, H, W), sides multiples of 32, and gives logits of any size asked for.

U-Net (Ronneberger et al. 2015) and SegFormer (Xie et al. 2021; spec/segmenters.md, section 5.2) are those of
segmentation_models_pytorch, with this project's encoders and outputs.
"""

from collections.abc import Callable

from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from data.pairs.errors import UserError
from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import Network, Outputs
from segmentation.networks.ctnet import CTNet
from segmentation.networks.encoders import build_encoder, check_names, weights_source
from segmentation.networks.plain_unet import PlainUNet
from segmentation.networks.polyp_pvt import PolypPvt
from segmentation.networks.sanet import SANet

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


NETWORKS: dict[str, Callable[..., Network]] = {
    "sanet": SANet,
    "polyp_pvt": PolypPvt,
    "ctnet": CTNet,
    "plain_unet": PlainUNet,
    "unet": build_unet,
    "segformer": build_segformer,
}
_UNFIT = (ValueError, RuntimeError, TypeError, AssertionError, LookupError)


def build_network(row: NetworkConfig, *, pretrained: bool = True) -> Network:
    """Return the network of a row, in training mode, with random weights from torch's global generator.

    Its encoder has the pretrained weights that the row names, unless `pretrained` is false: then nothing is fetched or
    read, for a caller that has all the weights.

    Raises: UserError when the encoder is unknown or unfit, or its pretrained weights cannot be had or do not fit.
    """
    if row.network == "plain_unet":
        return PlainUNet(row, pretrained=False)
    check_names(row)
    name = row.encoder_name()
    try:
        return NETWORKS[row.network](row, pretrained=pretrained)
    except OSError as error:
        raise UserError(
            f"the weights {row.encoder_weights!r} of encoder {name!r} could not be fetched",
            [
                f"they come from {weights_source(row)}",
                str(error).splitlines()[0],
                "connect once so that they are downloaded and cached, or bring the file and give its path and hash as "
                "encoder_file and encoder_sha256, or set encoder_weights: null to start anew",
            ],
        ) from error
    except _UNFIT as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"encoder {name!r} cannot serve a {row.network}", [reason, "choose another, or mend encoder_args"]
        ) from error
