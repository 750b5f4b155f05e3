"""Trained pyramids as the sampling stage takes them: an image and its mask for each training pair's request."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.pairs.resize import resize_mask
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from siamese.config.sections import NEEDS, SamplingConfig
from siamese.config.singan_seg import SinganSegRow
from siamese.sampling.requests import Drawn, Request, Sampler
from siamese.singan_seg.pyramid import Pyramids, load_pyramid, read_row
from siamese.singan_seg.style import Style, load_style


def without_specks(lesion: np.ndarray, min_area: int) -> np.ndarray:
    """Return a mask, uint8 (H, W) of 0 and 1, without the pieces of fewer pixels."""
    if min_area < 2:
        return lesion
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(lesion, connectivity=8)
    large = facts[:, cv2.CC_STAT_AREA] >= min_area
    large[0] = False  # the background
    return large[pieces].astype(np.uint8)


def mask_of(sample: Tensor, row: SinganSegRow) -> np.ndarray:
    """Return uint8 (h, w) of 0 and 1 from the mask channel of a sample (1, 4, h, w) in [-1, 1]."""
    return without_specks(((sample[0, 3] + 1) / 2 > row.mask_cut).to(torch.uint8).cpu().numpy(), row.min_area)


def use_own_statistics(pyramids: Pyramids) -> None:
    """Let every layer normalise by the image that it is given."""
    for generator in pyramids.generators:
        for module in generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats, module.running_mean, module.running_var = False, None, None


def draw_sample(pyramids: Pyramids, request: Request) -> tuple[Tensor, dict[str, str]]:
    """Return a sample (1, 4, h, w) in [-1, 1] whose mask is not empty, and in how many draws it was found.

    After as many as the row says the reconstruction of the training pair stands in. Of a pair without a lesion the
    first draw is taken.
    """
    row, scales = pyramids.row, pyramids.scales
    for attempt in range(1, row.attempts + 1):
        seed = request.seed if attempt == 1 else item_seed(request.seed, "attempt", attempt)
        rng = torch.Generator().manual_seed(seed)

        def draw(scale: int, channels: int, rng: torch.Generator = rng) -> Tensor:
            drawn = torch.randn((1, channels, *scales.sides[scale]), generator=rng)
            return drawn.to(pyramids.first_noise)

        sample = pyramids.sample(draw, row.start_scale)
        if mask_of(sample, row).any() or not request.mask.any():
            return sample, {"attempts": str(attempt)}
    return pyramids.sample(None), {"attempts": str(row.attempts), "fallback": "yes"}


def drawn_pair(
    sample: Tensor, size: tuple[int, int], row: SinganSegRow, style: Style | None, like: Tensor | None
) -> Drawn:
    """Return image and mask of a sample (1, 4, h, w) at this height and width; `like`, (3, h, w), gives the style."""
    colours = (sample[0, :3] + 1) / 2
    if style is not None and like is not None:
        colours = style(colours, like.to(colours) / 255)
    image = (colours.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    labels = mask_of(sample, row)
    if image.shape[:2] != size:
        height, width = size
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        labels = resize_mask(labels, (width, height))
    return Drawn(np.ascontiguousarray(image), labels)


def load_pyramid_sampler(folder: Path, base_dir: Path, cfg: SamplingConfig) -> Sampler:
    """Return the sampler of trained pyramids, on accelerate's device; neither a base model nor the section is read.

    Each image is drawn by itself, from the pyramid of the training pair that its request names.

    Raises: UserError when the folder is not complete; in sampling, when it has no pyramid of a pair.
    """
    device = accelerator().device
    row, _ = read_row(folder)
    style = load_style(row, device) if row.style == "gatys" else None

    def sample(requests: Sequence[Request]) -> Iterator[Drawn]:
        for request in requests:
            size = request.mask.shape
            pyramids, image = load_pyramid(folder, request.parent, row, size, device)
            if row.norm_at_sampling == "own":
                use_own_statistics(pyramids)
            drawn, told = draw_sample(pyramids, request)
            if "fallback" in told and not mask_of(drawn, row).any():
                what = f"{request.id}: no lesion in {row.attempts} draws, nor in the reconstruction: its mask is empty"
                tqdm.write(f"singan_seg: {what}", file=sys.stderr)
            yield drawn_pair(drawn, size, row, style, image)._replace(text=told)

    settings = {"start_scale": str(row.start_scale), "style": row.style}
    return Sampler(NEEDS["singan_seg"], settings, sample)
