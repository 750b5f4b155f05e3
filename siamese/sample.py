"""Sampling images for masks: DDIM as in the paper, one image file at a time, resumed where it stopped."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from tqdm import tqdm

from data.pairs.image_io import write_image
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from siamese.checkpoint import Trained
from siamese.config import SamplingConfig
from siamese.control import control_residuals, unet_decode, unet_encode
from siamese.latents import device, mask_hints


@torch.inference_mode()
def denoise(trained: Trained, scheduler: DDIMScheduler, latents: Tensor, hints: Tensor, cfg: SamplingConfig) -> Tensor:
    """Return clean latents (B, C, h, w) from noise, for mask hints (B, 3, H, W) in [0, 1].

    DDIM with eta 0. Guidance acts on the prompt alone: both halves keep the mask, as in the official sampler
    (spec 1.4, row 16). The hint does not depend on the timestep, so it is encoded once.
    """
    controlnet, unet, prompts = trained.controlnet, trained.unet, trained.context.to(latents.device)
    guided = cfg.guidance > 1
    features = controlnet.controlnet_cond_embedding(hints)
    context = prompts[:1].expand(len(latents), -1, -1)
    if guided:
        features = torch.cat([features, features])
        context = torch.cat([prompts[1:].expand(len(latents), -1, -1), context])
    scheduler.set_timesteps(cfg.steps)
    for timestep in scheduler.timesteps.to(latents.device):
        inputs = torch.cat([latents, latents]) if guided else latents
        times = timestep.expand(len(inputs))
        residuals = control_residuals(controlnet, inputs, times, context, features)
        noise = unet_decode(unet, unet_encode(unet, inputs, times, context), residuals, context)
        if guided:
            without, with_prompt = noise.chunk(2)
            noise = without + cfg.guidance * (with_prompt - without)
        latents = scheduler.step(noise, timestep, latents, eta=0.0).prev_sample
    return latents


@torch.inference_mode()
def decode_images(vae: AutoencoderKL, latents: Tensor) -> np.ndarray:
    """Return uint8 (B, H, W, 3) from scaled latents, rounded to the nearest value."""
    images = vae.decode(latents / vae.config.scaling_factor).sample
    return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def start_noise(seed: int, mask_ids: Sequence[str], shape: tuple[int, ...]) -> Tensor:
    """Return the noise that each mask's image starts from, (B, *shape): a function of seed and mask id."""
    rngs = [torch.Generator().manual_seed(item_seed(seed, "sample", mask_id)) for mask_id in mask_ids]
    return torch.stack([torch.randn(shape, generator=rng) for rng in rngs])


def sample_images(
    masks: PairSet,
    trained: Trained,
    vae: AutoencoderKL,
    scheduler: DDIMScheduler,
    cfg: SamplingConfig,
    folder: Path,
    provenance: dict[str, str],
) -> None:
    """Write folder/<mask id>.png for every mask that has none yet.

    The PNGs carry `provenance`, the mask's id and the seed as text. Batches are always the same slices of the list, and
    a batch with a missing image is drawn again whole, so that an interrupted run ends with the same bytes.
    """
    side = masks.mask(masks.pairs[0]).shape[0] // 2 ** (len(vae.config.block_out_channels) - 1)
    for network in (trained.controlnet, trained.unet, vae):
        network.to(device())
    with tqdm(total=len(masks), desc="sample", unit="image", mininterval=5) as bar:
        for start in range(0, len(masks), cfg.batch):
            pairs = masks.pairs[start : start + cfg.batch]
            bar.update(len(pairs))
            if all((folder / f"{pair.id}.png").is_file() for pair in pairs):
                continue
            hints = mask_hints(np.stack([masks.mask(pair) for pair in pairs]))
            noise = start_noise(cfg.seed, [pair.id for pair in pairs], (vae.config.latent_channels, side, side))
            images = decode_images(vae, denoise(trained, scheduler, noise.to(device()), hints.to(device()), cfg))
            for pair, image in zip(pairs, images, strict=True):
                text = {**provenance, "mask": pair.id, "seed": str(item_seed(cfg.seed, "sample", pair.id))}
                write_image(folder / f"{pair.id}.png", image, text)
