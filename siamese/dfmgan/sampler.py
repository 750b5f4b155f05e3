"""A trained DFMGAN as the sampling stage takes it: noise in, image and mask out."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.pairs.training import accelerator
from siamese.config.sections import NEEDS, SamplingConfig
from siamese.dfmgan.checkpoint import Trained, load_generator
from siamese.dfmgan.generator import noise_sides, synthesise
from siamese.sampling.requests import Drawn, Request, Sampler


def draw(trained: Trained, seed: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return an image (1, 3, side, side) in about [-1, 1] and its raw mask (1, 1, side, side), lesion where >= 0.

    Both codes and all noise maps are a function of the seed; styles are not mixed.
    """
    normal, defect, rng = trained.normal, trained.defect, torch.Generator().manual_seed(seed)
    noise = [torch.randn(1, trained.row.code, generator=rng).to(device) for _ in range(2)]
    sides = noise_sides(normal.synthesis, defect.residuals)
    maps = [torch.randn(1, 1, r, r, generator=rng).to(device) for r in sides]
    codes = normal.mapping(noise[0])[:, None].expand(-1, normal.synthesis.styles, -1)
    defect_codes = defect.mapping(noise[1])[:, None].expand(-1, defect.residuals.styles, -1)
    image, mask = synthesise(normal.synthesis, codes, maps, defect.residuals, defect_codes, trained.row.gate)
    assert mask is not None
    return image, mask


def as_pair(image: Tensor, mask: Tensor, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return image uint8 (H, W, 3) and labels uint8 (H, W) in {0, 1} at `size_px`, for one sample's tensors.

    Both are resized bilinearly and the raw mask is cut after that, so that its edge is smooth.
    """
    size = (size_px, size_px)
    large, raw = (functional.interpolate(x, size, mode="bilinear", align_corners=False) for x in (image, mask))
    levels = ((large[0] / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).cpu().numpy(), (raw[0, 0] >= 0).to(torch.uint8).cpu().numpy()


def load_dfmgan_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> Sampler:
    """Return the sampler of a trained DFMGAN, on accelerate's device. It yields an image and its labels a request.

    Neither a base model nor the section is read, nor the masks of the requests. Samples are drawn one by one in full
    precision, so that not even the last digit depends on the batch.

    Raises: UserError when the folder is not complete, or is not of this method.
    """
    processes, trained = accelerator(), load_generator(folder)
    for network in (trained.normal, trained.defect):
        network.to(processes.device)

    @torch.inference_mode()
    def sample(requests: Sequence[Request]) -> Iterator[Drawn]:
        for request in requests:
            yield Drawn(*as_pair(*draw(trained, request.seed, processes.device), trained.size_px))

    needs = NEEDS["dfmgan"]._replace(normal=False)  # training alone sees normal images
    return Sampler(needs, {"side": str(trained.side)}, sample)
