"""The one sampler of all latent methods: noise, denoising under the method's condition, the base model's decoder."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor

from data.pairs.devices import accelerator
from siamese.base.attention import place
from siamese.base.latents import image_hints, mask_hints
from siamese.base.load import load_scheduler, load_vae
from siamese.config.rows import downsampling
from siamese.config.sections import NEEDS, Needs, SamplingConfig
from siamese.method.checkpoint import Trained, load_generator
from siamese.sampling.denoise import denoise
from siamese.sampling.sample import Request


@torch.inference_mode()
def decode_images(vae: AutoencoderKL, latents: Tensor) -> Iterator[Tensor]:
    """Yield each image as float32 (H, W, 3) in [0, 1] from scaled latents (B, C, h, w).

    One at a time: on the CPU it is faster, and the memory stays that of one image.
    """
    for latent in latents.split(1):
        image = vae.decode(latent / vae.config.scaling_factor).sample[0]
        yield (image / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu()


def start_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return the noise that images start from, (B, *shape), each a function of its own seed."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@dataclass(frozen=True)
class LatentSampler:
    """A trained latent generator with the VAE and the noise schedule of its base model, on this process's device."""

    trained: Trained
    vae: AutoencoderKL
    scheduler: DDIMScheduler
    cfg: SamplingConfig

    def __post_init__(self) -> None:
        where = accelerator().device
        for network in self.trained.networks.all():
            place(network, where)
        self.vae.to(where, memory_format=torch.channels_last)

    @property
    def needs(self) -> Needs:
        """What the method needs."""
        return NEEDS[self.trained.row.method]

    @property
    def settings(self) -> dict[str, str]:
        """Steps and guidance, and other options as JSON where they are not the paper's."""
        others = self.cfg.model_dump(exclude={"steps", "guidance", "batch", "seed"}, exclude_defaults=True)
        options = {"options": json.dumps(others, sort_keys=True)} if others else {}
        return {"steps": str(self.cfg.steps), "guidance": str(self.cfg.guidance), **options}

    def sample(self, requests: Sequence[Request]) -> Iterator[np.ndarray]:
        """Yield an image for each request, uint8 (H, W, 3)."""
        processes = accelerator()
        device = processes.device
        hints = mask_hints(np.stack([request.mask for request in requests]), device)
        images = [request.reference for request in requests if request.reference is not None]
        shown = image_hints(np.stack(images), device) if self.needs.reference else None
        side = hints.shape[-1] // downsampling(self.vae.config.block_out_channels)
        noise = start_noise([request.seed for request in requests], (self.vae.config.latent_channels, side, side))
        with processes.autocast():
            latents = denoise(self.trained, self.scheduler, noise.to(device), hints, self.cfg, images=shown)
        for image in decode_images(self.vae, latents.float()):
            yield (image * 255).round().to(torch.uint8).numpy()


def load_latent_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> LatentSampler:
    """Return the sampler of a trained latent generator. Raises: UserError as `load_generator`."""
    trained = load_generator(folder, base_dir)
    return LatentSampler(trained, load_vae(base_dir), load_scheduler(base_dir), cfg)
