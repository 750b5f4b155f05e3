"""Features of EfficientNet-Lite0 (ImageNet), the one pretrained network that needs no download."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from data.pretrained.lite0 import normalised

SIDE_PX = 128  # a multiple of the network's stride of 32
BACKBONE = f"EfficientNet-Lite0 (ImageNet), pooled, 1280-d, bicubic {SIDE_PX} px"


@torch.inference_mode()
def lite0_features(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return float32 (N, 1280), the pooled features of `lite0_network()`, for uint8 (N, H, W, 3).

    Image by image: in a batch, the last bits of an image's features would depend on how many others are in it.
    """
    device = next(network.parameters()).device
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device).split(1)
    return torch.cat([_features(network, image) for image in x]).float().cpu().numpy()


def _features(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    size = (SIDE_PX, SIDE_PX)
    x = functional.interpolate(image.float() / 255, size, mode="bicubic", antialias=True, align_corners=False)
    return network.forward_head(network.forward_features(normalised(x.clamp(0, 1))), pre_logits=True)
