"""Inception features of the full profile: FID and KID."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

BACKBONE = "Inception of the TensorFlow graph of 2015-12-05, pool3, 2048-d, TF1 bilinear 299 px (torch-fidelity)"


def load_inception(path: Path, device: str = "cpu") -> nn.Module:
    """Return torch-fidelity's extractor with the weights of a file whose hash has been checked."""
    from torch_fidelity.utils import create_feature_extractor

    extractor = create_feature_extractor(
        "inception-v3-compat", ["2048"], cuda=False, verbose=False, feature_extractor_weights_path=str(path)
    )
    return extractor.to(device)


@torch.inference_mode()
def inception_features(extractor: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return float32 (N, 2048) for uint8 (N, H, W, 3)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return extractor(x.to(next(extractor.parameters()).device))[0].cpu().numpy()
