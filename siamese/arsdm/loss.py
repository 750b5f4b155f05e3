"""ArSDM's loss terms as sums over samples, so that micro-batches add up."""

from diffusers import DDIMScheduler
from torch import Tensor

from siamese.base.devices import moved


def denoising_loss(noise_pred: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over samples of mean(W |eps - e|), for (B, 3, H, W) twice and weights (B, 1, H, W)."""
    return (weights * (noise - noise_pred).abs()).mean((1, 2, 3)).sum()


def clean_images(noisy: Tensor, noise_pred: Tensor, timesteps: Tensor, schedule: DDIMScheduler) -> Tensor:
    """Return x_0 = (z_t - sqrt(1 - abar_t) e) / sqrt(abar_t), (B, 3, H, W) in about [-1, 1], not clipped."""
    alphas = schedule.alphas_cumprod.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)
    (alphas,) = moved([alphas], noisy.device)
    return (noisy - (1 - alphas).sqrt() * noise_pred) / alphas.sqrt()
