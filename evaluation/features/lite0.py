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
    """Return float32 (N, 1280), the pooled features of `lite0_network()`, for uint8 (N, H, W, 3)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(next(network.parameters()).device).float() / 255
    x = functional.interpolate(x, (SIDE_PX, SIDE_PX), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return network.forward_head(network.forward_features(normalised(x)), pre_logits=True).float().cpu().numpy()
