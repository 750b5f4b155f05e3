"""EfficientNet-Lite0 as an encoder, with the weights of its package (data/pretrained/lite0.py)."""

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from data.pretrained import lite0


def lite0_encoder(depth: int, args: dict[str, Any], *, pretrained: bool) -> nn.Module:
    """Return the encoder as `build_encoder` does; its maps have 16, 24, 40, 112 and 320 channels.

    Images are RGB of mean 0.5 and deviation 0.5, with sides that are multiples of 32: it pads as TensorFlow does, right
    and bottom. Without `pretrained` the file of its weights is not read.

    Raises: UserError when the package of the weights is not installed.
    """
    encoder = smp.encoders.get_encoder(f"tu-{lite0.TIMM_NAME}", depth=depth, weights=None, **args)
    network = encoder.model
    network.blocks = network.blocks[: network.feature_info.get_dicts()[-1]["stage"]]  # timm keeps and runs them all
    if pretrained:
        state = lite0.lite0_state()  # all of it but the classifier, and the blocks that a smaller depth leaves out
        network.load_state_dict({name: state[name] for name in network.state_dict()})
    return encoder
