"""One pass of ArSDM's training: the weighted noise loss, and in the last steps a segmenter's opinion of the image."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.arsdm.denoise import Network, denoise, mask_tensor
from siamese.base.devices import full_precision, moved, rows_of
from siamese.base.latents import to_signed
from siamese.config.arsdm import ArsdmRow
from siamese.method.reweight import adaptive_weights

TERMS = ("noise", "refinement")

# (images (B, 3, H, W) in about [0, 1], masks (B, 1, H, W) of 0 and 1) -> the mean over the batch of a loss that each
# sample has on its own, differentiable in the images
Refinement = Callable[[Tensor, Tensor], Tensor]


class Batch(NamedTuple):
    """Noisy images and what the network is to find in them, all on one device."""

    noisy: Tensor  # (B, 3, H, W)
    noise: Tensor  # (B, 3, H, W)
    timesteps: Tensor  # (B,), on the CPU: what they select is known there without asking the device
    masks: Tensor  # (B, 1, H, W), 0 or 1
    seeds: tuple[int, ...]  # of the images that official_noop samples


def draw_batch(
    images: np.ndarray,
    masks: np.ndarray,
    indices: Sequence[int],
    positions: Sequence[int],
    schedule: DDIMScheduler,
    seed: int,
    device: torch.device | str = "cpu",
) -> Batch:
    """Return the pairs of these indices, noised, on `device` but for the timesteps.

    Each draw is a function of the seed and of its position alone.
    """
    clean, timesteps, noises = to_signed(images[list(indices)]), [], []
    for position in positions:
        rng = torch.Generator().manual_seed(item_seed(seed, "position", position))
        timesteps.append(torch.randint(0, schedule.config.num_train_timesteps, (), generator=rng))
        noises.append(torch.randn(clean.shape[1:], generator=rng))
    t, noise = torch.stack(timesteps), torch.stack(noises)
    tensors = [schedule.add_noise(clean, noise, t), noise, mask_tensor(masks[list(indices)])]
    noisy, noise, lesion = moved(tensors, device)
    return Batch(
        noisy=noisy.to(memory_format=torch.channels_last),
        noise=noise,
        timesteps=t,
        masks=lesion,
        seeds=tuple(item_seed(seed, "refine", position) for position in positions),
    )


def denoising_loss(noise_pred: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over samples of mean(W |eps - e|), for (B, 3, H, W) twice and weights (B, 1, H, W).

    A sum, so that micro-batches add up.
    """
    return (weights * (noise - noise_pred).abs()).mean((1, 2, 3)).sum()


def clean_images(noisy: Tensor, noise_pred: Tensor, timesteps: Tensor, schedule: DDIMScheduler) -> Tensor:
    """Return x_0 = (z_t - sqrt(1 - abar_t) e) / sqrt(abar_t), (B, 3, H, W) in about [-1, 1], not clipped."""
    alphas = schedule.alphas_cumprod.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)
    (alphas,) = moved([alphas], noisy.device)
    return (noisy - (1 - alphas).sqrt() * noise_pred) / alphas.sqrt()


def refinement_loss(
    network: Network, batch: Batch, noise_pred: Tensor, schedule: DDIMScheduler, row: ArsdmRow, loss: Refinement
) -> Tensor:
    """Return the segmenter's loss on the images of a batch, summed over the samples.

    official_noop: on sampled images, a constant as in the released code, where too the sampler runs without gradients
    and the segmenter is frozen, so that its loss changes no weight. one_step: on x_0 as one prediction gives it, for
    the samples with little noise. Our own design: it costs no further pass of the network, and its gradient reaches it.
    """
    if row.refine == "official_noop":
        with torch.no_grad():
            images = denoise(
                network, batch.masks, batch.seeds, steps=row.refine_sample_steps, eta=row.eta, clip=row.clip
            )
            return loss(images / 2 + 0.5, batch.masks) * len(images)
    early = torch.tensor([i for i, t in enumerate(batch.timesteps.tolist()) if t <= row.refine_t_max])
    if not len(early):
        return noise_pred.new_zeros(())
    (rows,) = moved([early], noise_pred.device)
    noisy, noise, masks = (rows_of(tensor, rows) for tensor in (batch.noisy, noise_pred, batch.masks))
    clean = clean_images(noisy, noise, batch.timesteps[early], schedule)
    return loss(clean / 2 + 0.5, masks) * len(early)


def add_step_gradients(
    network: Network,
    batch: Batch,
    schedule: DDIMScheduler,
    row: ArsdmRow,
    share: Tensor,
    refinement: Refinement | None,
) -> Tensor:
    """Add the gradients of `share` times the loss to the network; return the terms as sums over the batch, (2,).

    `refinement` is None before the last steps. The order of TERMS is that of the result.
    """
    (timesteps,) = moved([batch.timesteps], batch.noisy.device)
    noise_pred = network(batch.noisy, timesteps, batch.masks).float()
    weights = adaptive_weights(batch.masks, normalize=row.reweight_normalize)
    noise_term = denoising_loss(noise_pred, batch.noise, weights)
    refined = noise_term.new_zeros(())
    if refinement:
        refined = refinement_loss(network, batch, noise_pred, schedule, row, refinement).float()
    with full_precision(noise_pred.device):  # a refiner's gradient too, as its loss
        (share * (noise_term + row.refine_weight * refined)).backward()
    return torch.stack([noise_term.detach(), refined.detach()])
