"""Networks by name. Each takes float (B, 3, H, W), sides multiples of 32, and gives logits of any size asked for."""

from collections.abc import Callable

from data.pairs.errors import UserError
from segmentation.config.networks import NetworkConfig
from segmentation.networks.blocks import Network
from segmentation.networks.ctnet import CTNet
from segmentation.networks.encoders import check_names, weights_source
from segmentation.networks.library import build_segformer, build_unet
from segmentation.networks.plain_unet import PlainUNet
from segmentation.networks.polyp_pvt import PolypPvt
from segmentation.networks.sanet import SANet

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
