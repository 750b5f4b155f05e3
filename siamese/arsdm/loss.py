"""ArSDM's loss terms as sums over samples, so that micro-batches add up."""

import torch
from diffusers import DDIMScheduler
from torch import Tensor


def adaptive_weights(masks: Tensor, *, normalize: bool) -> Tensor:
    """Return W = M (1 - r) + (1 - M) r for masks M (B, 1, H, W), 0 or 1, with r the share of lesion in each.

    The mean of W is 2 r (1 - r): small lesions weigh little, and an empty mask nothing at all. `normalize` divides by
    that mean, and where it is zero all pixels weigh the same. Source: ArSDM, adaptive loss re-weighting.
    """
    share = masks.mean((1, 2, 3), keepdim=True)
    weights = masks * (1 - share) + (1 - masks) * share
    if not normalize:
        return weights
    mean = weights.mean((1, 2, 3), keepdim=True)
    return torch.where(mean > 0, weights / mean.clamp(min=torch.finfo(mean.dtype).tiny), torch.ones_like(weights))


def denoising_loss(noise_pred: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over samples of mean(W |eps - e|), for (B, 3, H, W) twice and weights (B, 1, H, W)."""
    return (weights * (noise - noise_pred).abs()).mean((1, 2, 3)).sum()


def clean_images(noisy: Tensor, noise_pred: Tensor, timesteps: Tensor, schedule: DDIMScheduler) -> Tensor:
    """Return x_0 = (z_t - sqrt(1 - abar_t) e) / sqrt(abar_t), (B, 3, H, W) in about [-1, 1], not clipped."""
    alphas = schedule.alphas_cumprod.to(noisy.device)[timesteps].view(-1, 1, 1, 1)
    return (noisy - (1 - alphas).sqrt() * noise_pred) / alphas.sqrt()
