"""Features of a random convolutional encoder: what the demo profile has where FID has Inception.

Random features rank blur, noise, colour, collapse and missing lesions well, if the weights are drawn for ReLUs
(Kaiming) and the normalisation is calibrated on real images; the library's default initialisation lets activations
die out. Measured in spec/metrics.md, section 3.
"""

import numpy as np
import torch
from torch import nn

from data.pairs.seeds import item_seed
from evaluation.features.images import Images

WIDTHS = (8, 16, 32, 64, 128)
CALIBRATION_IMAGES = 64
BACKBONE = "random convolutional encoder, 5 stages of widths 8-128, ReLU, batch norm; Laplacian pyramid for SWD"


class RandomEncoder(nn.Module):
    """Five stages of two 3x3 convolutions with batch norm and ReLU, halved in between, as in a small U-Net."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(*_layer(narrow, wide, generator), *_layer(wide, wide, generator))
            for narrow, wide in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
        )
        self.shrink = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, 248): the channel means of all stages. Raw: scaling each feature would blow up near-dead ones."""
        pooled = []
        for number, stage in enumerate(self.stages):
            x = stage(self.shrink(x) if number else x)
            pooled.append(x.mean((2, 3)))
        return torch.cat(pooled, 1)


def _layer(narrow: int, wide: int, generator: torch.Generator) -> list[nn.Module]:
    convolution = nn.utils.skip_init(nn.Conv2d, narrow, wide, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu", generator=generator)
    return [convolution, nn.BatchNorm2d(wide, momentum=None), nn.ReLU()]


def _tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def calibration_images(images: Images) -> np.ndarray:
    """Return at most 64 images, spread evenly over the set: uint8 (n, H, W, 3)."""
    count = min(len(images), CALIBRATION_IMAGES)
    return images.take(np.linspace(0, len(images) - 1, count).round().astype(int).tolist())


@torch.no_grad()
def random_encoder(seed: int, calibration: np.ndarray) -> RandomEncoder:
    """Return the encoder of a seed in evaluation mode, its batch norms calibrated on real uint8 (n, H, W, 3).

    They are calibrated in one pass, so the batch size of the features has no part in it.
    """
    encoder = RandomEncoder(torch.Generator().manual_seed(item_seed("random encoder", seed)))
    encoder.train()(_tensor(calibration))
    return encoder.eval()


@torch.inference_mode()
def features(encoder: RandomEncoder, images: np.ndarray) -> np.ndarray:
    """Return float32 (N, 248) for uint8 (N, H, W, 3)."""
    return encoder(_tensor(images)).numpy()
