"""A trained ArSDM as the sampling stage takes it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.pairs.devices import accelerator
from siamese.arsdm.checkpoint import check_size, load_network
from siamese.arsdm.denoise import denoise, mask_tensor
from siamese.arsdm.network import SpadeUNet
from siamese.config.arsdm import ArsdmRow
from siamese.config.sections import NEEDS, Needs, SamplingConfig
from siamese.sampling.sample import Request


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
