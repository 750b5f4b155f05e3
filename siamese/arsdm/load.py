"""A trained ArSDM behind the registry of samplers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.arsdm import sample as pixel
from siamese.config.needs import NEEDS, Needs
from siamese.config.sections import SamplingConfig
from siamese.sampling.sample_requests import Request


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
    """Return the sampler of a folder that `siamese.arsdm.train.fit_pairs` wrote."""
    return PixelSampler(pixel.load(folder), NEEDS["arsdm"])
