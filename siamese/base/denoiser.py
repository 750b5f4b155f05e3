"""The small UNet of a base model that is trained here."""

import math
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from data.pairs.seeds import item_seed
from siamese.base.devices import norm_groups, seeded
from siamese.base.steps import train_steps
from siamese.config.base import UnetShape

PROMPT_DROPOUT = 0.1


def _build(shape: UnetShape, latent: tuple[int, ...]) -> UNet2DConditionModel:
    levels = len(shape.channels)
    kinds = ["CrossAttn" if levels - level <= shape.attention_levels else "" for level in range(levels)]
    return UNet2DConditionModel(
        sample_size=latent[-1],
        in_channels=latent[0],
        out_channels=latent[0],
        block_out_channels=shape.channels,
        layers_per_block=shape.layers,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=shape.context_dim,
        attention_head_dim=math.gcd(4, *shape.channels),
        norm_num_groups=norm_groups(shape.channels),
    )


def train_denoiser(
    latents: Tensor,
    context: Tensor,
    shape: UnetShape,
    scheduler: DDIMScheduler,
    seed: int,
    checkpoint_steps: int,
    work: Path,
) -> UNet2DConditionModel:
    """Return a UNet that predicts the noise of latents (N, C, h, w); context (2, 77, D): prompt and empty prompt.

    Raises: UserError as `train_steps`.
    """
    unet = seeded(lambda: _build(shape, latents.shape[1:]), item_seed(seed, "unet"))
    unet.to(latents.device, memory_format=torch.channels_last)
    context = context.to(latents.device)

    def loss_of_batch(rng: torch.Generator) -> Tensor:
        batch = latents[torch.randint(0, len(latents), (shape.batch,), generator=rng)]
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (shape.batch,), generator=rng)
        dropped = (torch.rand(shape.batch, generator=rng) < PROMPT_DROPOUT).long()
        noise = torch.randn(batch.shape, generator=rng).to(latents.device)
        timesteps = timesteps.to(latents.device)
        noisy = scheduler.add_noise(batch, noise, timesteps).contiguous(memory_format=torch.channels_last)
        return functional.mse_loss(unet(noisy, timesteps, context[dropped]).sample.float(), noise)

    train_steps(unet, "unet", shape, loss_of_batch, item_seed(seed, "unet batches"), checkpoint_steps, work)
    return unet
