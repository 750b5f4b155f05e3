"""A trained AnomalyDiffusion as the sampling stage takes it."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.training import accelerator
from siamese.anomaly.latent_masks import latent_masks, lesion_names
from siamese.anomaly.latents import encoded
from siamese.anomaly.networks import Networks, load, vectors_of
from siamese.anomaly.paint import paint, pasted
from siamese.anomaly.spatial import encoder_masks
from siamese.base.devices import place
from siamese.base.latents import to_signed
from siamese.base.load import load_scheduler, load_vae
from siamese.config.anomaly import AnomalyRow
from siamese.config.rows import downsampling
from siamese.config.sections import NEEDS, SamplingConfig
from siamese.sampling.requests import Request, Sampler
from siamese.sampling.sampler import decode_images, generators_of

SHOWN = 4  # ids in a line


def latent_sampler(
    networks: Networks,
    row: AnomalyRow,
    lesions: Sequence[float],
    vae: AutoencoderKL,
    schedule: DDIMScheduler,
) -> Sampler:
    """Return the sampler of trained networks; `lesions` are the values of masks that the names stand for."""
    processes = accelerator()
    device = processes.device
    for network in (*networks.learned, networks.prompts, networks.unet, vae):
        place(network, device)
    factor = downsampling(vae.config.block_out_channels)

    def contexts(ids: Sequence[str], masks: np.ndarray, lesion: Tensor) -> Tensor:
        names = torch.tensor(lesion_names(masks, lesions, ids), device=device)
        vectors = vectors_of(networks.learned, names, encoder_masks(lesion, row.encoder_px))
        return networks.prompts(torch.zeros_like(names), vectors)

    @torch.inference_mode()
    def sample(requests: Sequence[Request]) -> Iterator[np.ndarray]:
        masks = np.stack([request.mask for request in requests])
        normals = np.stack([_normal_of(request) for request in requests])
        lesion = torch.from_numpy(masks != 0).float()[:, None].to(device)
        cells, kept = latent_masks(lesion, [side // factor for side in masks.shape[1:]], row.latent_mask)
        _report(list(dict.fromkeys(one.id for one, small in zip(requests, kept.tolist(), strict=True) if small)))
        rngs = generators_of([request.seed for request in requests])
        with processes.autocast():
            context = contexts([request.id for request in requests], masks, lesion)
            normal = encoded(vae, to_signed(normals).to(device), row.normal_latent, rngs)
            latents = paint(networks, row, schedule, context, normal, cells, rngs)
        images = decode_images(vae, latents.float())
        for image, before, mask in zip(images, normals, masks, strict=True):
            levels = (image * 255).round().to(torch.uint8).numpy()
            yield pasted(levels, before, mask, row.feather_px) if row.paste == "pixel" else levels

    settings = {"steps": str(row.sample_steps), "eta": str(row.eta), "paste": row.paste}
    return Sampler(NEEDS["anomaly_diffusion"], settings | {"adaptive": str(row.adaptive).lower()}, sample)


def _normal_of(request: Request) -> np.ndarray:
    if request.normal is None:
        raise UserError("anomaly_diffusion paints into images without lesion: the data set needs the key normal")
    return request.normal


def _report(ids: Sequence[str]) -> None:
    if ids:
        shown = ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
        tqdm.write(
            f"lesions smaller than a cell of the latents, painted in all that they touch: {shown}", file=sys.stderr
        )


def load_anomaly_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> Sampler:
    """Return the sampler of a trained AnomalyDiffusion. The section is not read: steps are the row's.

    Raises: UserError as `siamese.anomaly.networks.load`; in sampling for lesions that it was not trained on.
    """
    networks, row, lesions = load(folder, base_dir)
    return latent_sampler(networks, row, lesions, load_vae(base_dir), load_scheduler(base_dir))
