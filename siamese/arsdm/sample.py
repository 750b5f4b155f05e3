"""Images for masks by DDIM in pixel space, with all noise drawn from one generator an image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from data.pairs.devices import accelerator
from siamese.arsdm.checkpoint import check_size, load_network
from siamese.arsdm.network import SpadeUNet
from siamese.base.devices import moved
from siamese.config.arsdm import ArsdmRow
from siamese.config.sections import NEEDS, Needs, SamplingConfig
from siamese.sampling.sample_requests import Request

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


@dataclass(frozen=True)
class PixelSampler:
    """A trained network with its averaged weights, in evaluation mode; steps are the row's."""

    network: SpadeUNet
    row: ArsdmRow
    needs: Needs = NEEDS["arsdm"]

    @property
    def settings(self) -> dict[str, str]:
        """Return what changed the images, as text for their files."""
        return {"steps": str(self.row.sample_steps), "eta": str(self.row.eta), "clip": str(self.row.clip).lower()}

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request]) -> Iterator[np.ndarray]:
        """Yield uint8 (H, W, 3) for each request. Raises: UserError when the masks' size does not fit the network."""
        row, processes, seeds = self.row, accelerator(), [request.seed for request in requests]
        masks = np.stack([request.mask for request in requests])
        check_size(row, *masks.shape[1:])
        inputs = mask_tensor(masks).to(processes.device)
        with processes.autocast():
            images = denoise(self.network, inputs, seeds, steps=row.sample_steps, eta=row.eta, clip=row.clip)
        levels = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        yield from levels.permute(0, 2, 3, 1).cpu().numpy()


def load_pixel_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> PixelSampler:
    """Return the sampler of a trained ArSDM, on accelerate's device; neither a base model nor the section is read.

    Raises: UserError when the folder is not complete, or is not of this method.
    """
    network, row = load_network(folder)
    return PixelSampler(network.to(accelerator().device, memory_format=torch.channels_last), row)
