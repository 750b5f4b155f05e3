"""Sampling images for masks on any number of processes, one image file at a time, resumed where it stopped."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.image_io import write_image
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from siamese.attention import place
from siamese.base import vae_factor
from siamese.checkpoint import Trained
from siamese.config import SamplingConfig
from siamese.denoise import denoise
from siamese.devices import accelerator, is_out_of_memory
from siamese.latents import mask_hints


@torch.inference_mode()
def decode_images(vae: AutoencoderKL, latents: Tensor) -> Iterator[Tensor]:
    """Yield each image as float32 (H, W, 3) in [0, 1] from scaled latents (B, C, h, w).

    One at a time: on the CPU it is faster, and the memory stays that of one image.
    """
    for latent in latents.split(1):
        image = vae.decode(latent / vae.config.scaling_factor).sample[0]
        yield (image / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu()


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
    """Write folder/<mask id>.png for every mask that has none yet; the processes take turns at the batches.

    The PNGs carry `provenance`, the mask's id and the seed as text. Batches are always the same slices of the list, and
    a batch with a missing image is drawn again whole, so that neither an interruption nor the number of processes
    changes a byte.

    Raises: UserError when memory does not suffice.
    """
    processes = accelerator()
    processes.wait_for_everyone()  # until the main one holds the folder's lock
    side = masks.mask(masks.pairs[0]).shape[0] // vae_factor(vae)
    place(trained.controlnet, processes.device)
    place(trained.unet, processes.device)
    vae.to(processes.device, memory_format=torch.channels_last)
    starts = range(0, len(masks), cfg.batch)[processes.process_index :: processes.num_processes]
    for start in tqdm(starts, desc="sample", unit="batch", mininterval=5, disable=not processes.is_main_process):
        pairs = masks.pairs[start : start + cfg.batch]
        if all((folder / f"{pair.id}.png").is_file() for pair in pairs):
            continue
        hints = mask_hints(np.stack([masks.hint(pair) for pair in pairs]), processes.device)
        noise = start_noise(cfg.seed, [pair.id for pair in pairs], (vae.config.latent_channels, side, side))
        try:
            with processes.autocast():
                latents = denoise(trained, scheduler, noise.to(processes.device), hints, cfg)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"out of memory with {len(pairs)} images at a time: lower sampling.batch") from error
        for pair, image in zip(pairs, decode_images(vae, latents.float()), strict=True):
            text = {**provenance, "mask": pair.id, "seed": str(item_seed(cfg.seed, "sample", pair.id))}
            write_image(folder / f"{pair.id}.png", (image * 255).round().to(torch.uint8).numpy(), text)
    processes.wait_for_everyone()
