"""What one training step sees."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """One batch at its noisy latents."""

    noisy_latents: Tensor  # (B, C, h, w): z_t
    timesteps: Tensor  # (B,) int64, on the CPU: what they select is known there without asking the device
    sigmas: Tensor  # (B,): sqrt(1 - abar_t)
    noise: Tensor  # (B, C, h, w): eps
    context: Tensor  # (B, 77, D): prompt embeddings
    mask_hint: Tensor  # (B, 3, H, W) in [0, 1]
    image_hint: Tensor  # (B, 3, H, W) in [0, 1]
