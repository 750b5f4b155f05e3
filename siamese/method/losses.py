"""The loss terms of the paper as pure functions of one sample each (Eq. 7-12)."""

import torch
from torch import Tensor


def mse_per_sample(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean squared difference of each sample, (B, ...) twice -> (B,), in float32 or better.

    Of predicted noise and noise it is L_m for the mask branch (Eq. 7) and L_i for the mixed one (Eq. 8). The difference
    of two predictions is small, so it is never taken in half precision. `weights` (B, 1, h, w) are those of the cells
    of (B, C, h, w), see `siamese.method.reweight`; not the paper's.
    """
    if a.dtype in (torch.float16, torch.bfloat16):
        a, b = a.float(), b.float()
    squares = (a - b.to(a.dtype)).square()
    if weights is not None:
        squares = weights.to(squares.dtype) * squares
    return squares.flatten(1).mean(1)


def consistency_loss(mask_pred: Tensor, mix_pred: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return |e_m - sg[e_mix]|^2 of each sample (Eq. 9); the image branch is the anchor and gets no gradient here.

    weights: as in `mse_per_sample`.
    """
    return mse_per_sample(mask_pred, mix_pred.detach(), weights)


def weighed_sum(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum of losses (B,), each times the weight of its sample where there are any."""
    return losses.sum() if weights is None else (weights * losses).sum()


def augmented_latents(noisy_latents: Tensor, sigmas: Tensor, noise: Tensor, mix_pred: Tensor) -> Tensor:
    """Return z_t' = z_t + sigma_t (eps - sg[e_mix]), (B, 4, h, w); sigmas (B,).

    Equal to predicting z_0' from e_mix (Eq. 11) and adding the same noise at the same timestep again (Eq. 12), without
    the division by sqrt(abar_t).
    """
    return noisy_latents + sigmas.view(-1, 1, 1, 1) * (noise - mix_pred.detach().to(noise.dtype))
