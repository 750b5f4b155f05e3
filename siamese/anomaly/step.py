"""One pass of training: pairs noised, the vectors put into a sentence, and the loss inside the mask."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.anomaly.latent_masks import latent_masks
from siamese.anomaly.networks import Networks, vectors_of
from siamese.anomaly.spatial import encoder_masks
from siamese.base.devices import full_precision, moved
from siamese.config.anomaly import AnomalyRow

TERMS = ("noise",)
FIGURES = ("words_norm", "tiny_masks")  # length of the vectors over that of ordinary ones; share kept by the fallback
# (the places of pairs, their positions in the run) -> posterior mean and deviation (B, C, h, w), masks (B, 1, H, W)
Pairs = Callable[[Sequence[int], Sequence[int]], tuple[Tensor, Tensor, Tensor]]


class Batch(NamedTuple):
    """One batch at its noisy latents, all on one device."""

    noisy: Tensor  # (B, C, h, w)
    noise: Tensor  # (B, C, h, w)
    timesteps: Tensor  # (B,)
    lesion: Tensor  # (B, 1, H, W), 0 or 1
    names: Tensor  # (B,), of the kinds of lesion
    templates: Tensor  # (B,)


def draw_batch(
    pairs: Pairs,
    names: Sequence[int],
    templates: int,
    indices: Sequence[int],
    positions: Sequence[int],
    schedule: DDIMScheduler,
    seed: int,
    device: torch.device | str = "cpu",
) -> Batch:
    """Return the pairs of these indices, noised. Each draw is a function of the seed and of its position alone."""
    mean, std, lesion = (tensor.cpu() for tensor in pairs(indices, positions))
    timesteps, latents, noises, sentences = [], [], [], []
    for place, position in enumerate(positions):
        rng = torch.Generator().manual_seed(item_seed(seed, "position", position))
        timesteps.append(torch.randint(0, schedule.config.num_train_timesteps, (), generator=rng))
        latents.append(mean[place] + std[place] * torch.randn(mean.shape[1:], generator=rng))
        noises.append(torch.randn(mean.shape[1:], generator=rng))
        sentences.append(torch.randint(0, templates, (), generator=rng))
    t, noise = torch.stack(timesteps), torch.stack(noises)
    kinds = torch.tensor([names[index] for index in indices])
    noisy = schedule.add_noise(torch.stack(latents), noise, t)
    tensors = moved([noisy, noise, t, lesion, kinds, torch.stack(sentences)], device)
    return Batch(*tensors)._replace(noisy=tensors[0].contiguous(memory_format=torch.channels_last))


def masked_losses(noise_pred: Tensor, noise: Tensor, cells: Tensor, mean: str) -> Tensor:
    """Return the loss of each sample, (B,): squared errors (B, C, h, w) inside cells (B, 1, h, w).

    all: over all cells, so that a lesion weighs by its share of the frame, and an empty mask teaches nothing. mask:
    over the lesion's cells.
    """
    squared = (cells * (noise_pred - noise).square()).flatten(1)
    if mean == "all":
        return squared.mean(1)
    return squared.sum(1) / (noise.shape[1] * cells.flatten(1).sum(1)).clamp_min(1)


def add_step_gradients(
    networks: Networks, batch: Batch, row: AnomalyRow, share: Tensor, ordinary_norm: Tensor
) -> Tensor:
    """Add the gradients of `share` times the loss to what is learned; return sums over the batch, (3,).

    The order of the result is that of TERMS and FIGURES. Nothing else has a gradient: the UNet and the text encoder are
    passed through.
    """
    masks = encoder_masks(batch.lesion, row.encoder_px)
    vectors = vectors_of(networks.learned, batch.names, masks)
    context = networks.prompts(batch.templates, vectors)
    noise_pred = networks.unet(batch.noisy, batch.timesteps, context).sample.float()
    cells, kept = latent_masks(batch.lesion, batch.noisy.shape[2:], row.latent_mask)
    loss = masked_losses(noise_pred, batch.noise, cells, row.loss_mean).sum()
    with full_precision(noise_pred.device):
        (share * loss).backward()
    norm = vectors.detach().float().norm(dim=-1).mean(1).sum() / ordinary_norm
    return torch.stack([loss.detach(), norm, kept.sum().to(norm)])
