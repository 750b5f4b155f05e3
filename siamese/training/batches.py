"""The batches of training. Every draw is a function of (seed, position), where position counts the pairs seen so far.

So nothing depends on the number of processes, on micro-batches or on when a run was interrupted.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.base.devices import moved
from siamese.base.latents import TrainingData, image_hints, mask_hints
from siamese.config.sections import TrainingConfig
from siamese.method.step import Batch


def pair_order(count: int, seed: int) -> Iterator[int]:
    """Yield indices of pairs without end, a new permutation an epoch."""
    epoch = 0
    while True:
        rng = torch.Generator().manual_seed(item_seed(seed, "epoch", epoch))
        yield from torch.randperm(count, generator=rng).tolist()
        epoch += 1


def _uniform(count: int, rng: torch.Generator) -> Tensor:
    return torch.randint(0, count, (), generator=rng)


def _cubic(count: int, rng: torch.Generator) -> Tensor:
    """Return t = (1 - u^3) * count, u uniform in [0, 1): large timesteps more often; u = 0 would give count itself."""
    u = torch.rand((), generator=rng, dtype=torch.float64)
    return ((1 - u**3) * count).long().clamp_max(count - 1)


# name of t_sampling -> one timestep of 0..count-1
TIMESTEPS: dict[str, Callable[[int, torch.Generator], Tensor]] = {"uniform": _uniform, "cubic": _cubic}


def draw_batch(
    data: TrainingData,
    indices: Sequence[int],
    positions: Sequence[int],
    scheduler: DDIMScheduler,
    cfg: TrainingConfig,
    device: torch.device | str = "cpu",
    t_sampling: str = "uniform",
) -> Batch:
    """Return the batch of the given pairs on `device`, its timesteps on the CPU; a position's seed makes its draws."""
    timesteps, noises, latents, empty = [], [], [], []
    for index, position in zip(indices, positions, strict=True):
        rng = torch.Generator().manual_seed(item_seed(cfg.seed, "position", position))
        shape = data.mean[index].shape
        timesteps.append(TIMESTEPS[t_sampling](scheduler.config.num_train_timesteps, rng))
        latents.append(data.mean[index] + data.std[index] * torch.randn(shape, generator=rng))
        noises.append(torch.randn(shape, generator=rng))
        empty.append(int(torch.rand((), generator=rng) < cfg.prompt_dropout))
    t, noise = torch.stack(timesteps), torch.stack(noises)
    noisy = scheduler.add_noise(torch.stack(latents), noise, t)
    sigmas = (1 - scheduler.alphas_cumprod[t]).sqrt()
    pairs = (torch.from_numpy(data.masks[indices]), torch.from_numpy(data.images[indices]))
    *tensors, masks, images = moved([noisy, sigmas, noise, data.context[empty], *pairs], device)
    noisy, sigmas, noise, context = tensors
    return Batch(noisy, t, sigmas, noise, context, mask_hints(masks, device), image_hints(images, device))
