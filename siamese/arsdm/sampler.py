"""A trained ArSDM as the sampling stage takes it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from data.pairs.training import accelerator
from siamese.arsdm.denoise import check_size, denoise, mask_tensor
from siamese.arsdm.network import load_network
from siamese.config.sections import NEEDS, SamplingConfig
from siamese.sampling.requests import Request, Sampler


def load_pixel_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> Sampler:
    """Return the sampler of a trained ArSDM: the averaged weights, on accelerate's device.

    Neither a base model nor the section is read: steps are the row's.

    Raises: UserError when the folder is not complete, or is not of this method; in sampling, when the masks' size does
    not fit the network.
    """
    processes = accelerator()
    network, row = load_network(folder)
    network.to(processes.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def sample(requests: Sequence[Request]) -> Iterator[np.ndarray]:
        masks = np.stack([request.mask for request in requests])
        check_size(row, *masks.shape[1:])
        inputs, seeds = mask_tensor(masks).to(processes.device), [request.seed for request in requests]
        with processes.autocast():
            images = denoise(network, inputs, seeds, steps=row.sample_steps, eta=row.eta, clip=row.clip)
        levels = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        yield from levels.permute(0, 2, 3, 1).cpu().numpy()

    settings = {"steps": str(row.sample_steps), "eta": str(row.eta), "clip": str(row.clip).lower()}
    return Sampler(NEEDS["arsdm"], settings, sample)
