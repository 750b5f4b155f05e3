"""Images for masks by DDIM in pixel space, with all noise drawn from one generator an image."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from data.pairs.errors import UserError
from siamese.base.devices import moved
from siamese.config.arsdm import ArsdmRow

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def noise_schedule(*, clip: bool = False) -> DDIMScheduler:
    """Return ArSDM's schedule: 1000 steps, square roots of beta from 0.0015 to 0.0205 evenly spaced."""
    return DDIMScheduler(
        beta_start=0.0015, beta_end=0.0205, beta_schedule="scaled_linear", clip_sample=clip, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip


def mask_tensor(masks: np.ndarray) -> Tensor:
    """Return float32 (N, 1, H, W) of 0 and 1 from masks (N, H, W); what is not 0 is lesion."""
    return torch.from_numpy(masks != 0).float()[:, None]


def check_size(row: ArsdmRow, height: int, width: int) -> None:
    """Raise UserError when images of this size, in px, do not fit the network."""
    if height % row.size_multiple or width % row.size_multiple:
        raise UserError(
            f"arsdm: images of {height} x {width} px do not fit {len(row.multipliers)} levels",
            [f"give a size_px that is a multiple of {row.size_multiple}", "or fewer multipliers in the row"],
        )


def denoise(
    network: Network, masks: Tensor, seeds: Sequence[int], *, steps: int, eta: float, clip: bool = False
) -> Tensor:
    """Return images (B, 3, H, W) in about [-1, 1] for masks (B, 1, H, W), one seed each; the caller stops gradients.

    An image's first noise and the noise of every step are a function of its seed alone, whatever the batch.
    """
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
    shape = (3, *masks.shape[2:])

    def draw() -> Tensor:
        return torch.stack([torch.randn(shape, generator=rng) for rng in rngs]).to(masks)

    schedule = noise_schedule(clip=clip)
    schedule.set_timesteps(steps)
    images = draw()
    (times,) = moved([schedule.timesteps], masks.device)
    for timestep, there in zip(schedule.timesteps, times, strict=True):
        noise_pred = network(images, there.expand(len(masks)), masks).to(masks.dtype)
        fresh = draw() if eta else None
        images = schedule.step(
            noise_pred, timestep, images, eta=eta, variance_noise=fresh, use_clipped_model_output=clip
        ).prev_sample
    return images
