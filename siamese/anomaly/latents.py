"""Images as latents, and noise from one generator an image."""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from torch import Tensor

AT_ONCE = 4
Posterior = tuple[Tensor, Tensor]  # mean and deviation, (B, C, h, w), on the CPU


def drawn(rngs: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Return the next noise of each generator, in the shape of `like` (B, C, h, w)."""
    return torch.stack([torch.randn(like.shape[1:], generator=rng) for rng in rngs]).to(like)


@torch.no_grad()
def posterior(vae: AutoencoderKL, images: Tensor) -> Posterior:
    """Return mean and deviation, scaled as latents are, of images (B, 3, H, W) in [-1, 1]."""
    means, deviations = [], []
    for some in images.split(AT_ONCE):
        distribution = vae.encode(some.to(vae.device).contiguous(memory_format=torch.channels_last)).latent_dist
        means.append(distribution.mean.float().cpu())
        deviations.append(distribution.std.float().cpu())
    factor = vae.config.scaling_factor
    return torch.cat(means) * factor, torch.cat(deviations) * factor


def encoded(vae: AutoencoderKL, images: Tensor, how: str, rngs: Sequence[torch.Generator]) -> Tensor:
    """Return scaled latents (B, C, h, w), on the VAE's device, of images (B, 3, H, W): posterior means, or draws."""
    mean, deviation = (part.to(vae.device) for part in posterior(vae, images))
    return mean + deviation * drawn(rngs, mean) if how == "sample" else mean
