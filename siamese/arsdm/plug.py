"""ArSDM behind the registry's two functions: fit and load."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from siamese.arsdm import sample as pixel
from siamese.arsdm.config import ArsdmRow
from siamese.arsdm.step import Refinement
from siamese.arsdm.train import fit
from siamese.config import SamplingConfig, TrainingConfig
from siamese.devices import accelerator, full_precision
from siamese.latents import PixelData
from siamese.needs import NEEDS, Needs
from siamese.requests import Request

REFINER = "loss.pt2"


def load_refinement(folder: Path | None) -> Refinement | None:
    """Return the loss of a trained segmenter that the refiner stage has exported, or None where it left none."""
    if folder is None or not (folder / REFINER).is_file():
        return None
    where = accelerator().device
    program = torch.export.load(folder / REFINER).module().to(where)

    def loss(images: Tensor, masks: Tensor) -> Tensor:
        with full_precision(where):  # losses are in full precision everywhere
            return program(images.float(), masks.float())

    return loss


def fit_pairs(
    data: PixelData, row: ArsdmRow, cfg: TrainingConfig, base_dir: Path, out: Path, work: Path, refiner: Path | None
) -> None:
    """Train on pairs alone: neither a base model nor latents are read.

    Raises: UserError as `siamese.arsdm.train.fit`.
    """
    fit(data.images, data.masks, row, cfg, out, work, refinement=load_refinement(refiner))


@dataclass(frozen=True)
class PixelSampler:
    """A trained ArSDM as the sampling stage takes it; steps are the row's, the sampling section is of latent ones."""

    sampler: pixel.Sampler
    needs: Needs

    @property
    def settings(self) -> dict[str, str]:
        """Return what changed the images, as text for their files."""
        row = self.sampler.row
        return {"steps": str(row.sample_steps), "eta": str(row.eta), "clip": str(row.clip).lower()}

    def sample(self, requests: Sequence[Request]) -> Iterator[np.ndarray]:
        """Yield uint8 (H, W, 3) for each request."""
        masks = np.stack([request.mask for request in requests])
        yield from self.sampler.sample(masks, [request.seed for request in requests])


def load_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> PixelSampler:
    """Return the sampler of a folder that `fit_pairs` wrote."""
    return PixelSampler(pixel.load(folder), NEEDS["arsdm"])
