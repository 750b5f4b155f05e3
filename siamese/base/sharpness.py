"""What the autoencoder's reconstructions are held to: every scale alike, local energy of fine bands, and features."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from data.pretrained.lite0 import lite0_network

LAPLACE_LEVELS = 3
ENERGY_LEVELS = 2  # bands of 2 and 4 px
WINDOW = 4  # cells of a band that make up a place
LEAST_ENERGY = 1e-4  # about one step of 255, squared
STAGES = 2  # of lite0, after its stem: maps of a half and a quarter of the image's side

Loss = Callable[[Tensor, Tensor], Tensor]


def laplacian_bands(images: Tensor, levels: int) -> list[Tensor]:
    """Return what images (B, C, H, W) lose when their sides are halved: details of 2 px, 4 px, ..., and the rest."""
    bands = []
    for _ in range(levels):
        coarse = functional.avg_pool2d(images, 2)
        bands.append(images - functional.interpolate(coarse, scale_factor=2, mode="nearest"))
        images = coarse
    return [*bands, images]


def laplacian_l1(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Return the mean absolute difference summed over the levels of a Laplacian pyramid.

    Every level counts alike, so that fine texture is not drowned by the smooth parts, as it is in plain L1.
    """
    *bands, rest = laplacian_bands(reconstructed - images, LAPLACE_LEVELS)
    loss = torch.zeros((), device=images.device)
    for band in bands:
        loss = loss + band.abs().mean()
    return loss + rest.abs().mean()


def band_energy(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Return how far the logarithms of local energy are apart in the bands of 2 and 4 px, summed over both.

    It asks for the right amount of texture at its place, where differences of pixels prefer none to a shifted one.
    """
    loss = torch.zeros((), device=images.device)
    pairs = zip(*(laplacian_bands(x, ENERGY_LEVELS)[:-1] for x in (reconstructed, images)), strict=True)
    for ours, theirs in pairs:
        ours, theirs = ((functional.avg_pool2d(x**2, WINDOW) + LEAST_ENERGY).log() for x in (ours, theirs))
        loss = loss + (ours - theirs).abs().mean()
    return loss


def perceptual_loss(device: torch.device) -> Loss:
    """Return a loss on the maps of the first stages of EfficientNet-Lite0: squared distances of their directions.

    Zhang et al. 2018 (LPIPS), without learned weights. Images are in [-1, 1], which is how the network takes them; the
    maps are those of the crop's own resolution.

    Raises: UserError when the package with the weights is not installed.
    """
    network = lite0_network().to(device, memory_format=torch.channels_last)

    def maps(images: Tensor) -> list[Tensor]:
        features, found = network.bn1(network.conv_stem(images)), []
        for stage in network.blocks[:STAGES]:
            features = stage(features)
            found.append(functional.normalize(features, dim=1))
        return found

    def loss(reconstructed: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = maps(images)
        pairs = zip(maps(reconstructed), wanted, strict=True)
        return torch.stack([(ours - theirs).square().sum(1).mean() for ours, theirs in pairs]).sum()

    return loss
