"""Training a generator of any method on cached latents."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.optim import AdamW

from data.pairs.seeds import item_seed
from siamese.base.devices import moved, place
from siamese.base.latents import TrainingData, image_hints, mask_hints
from siamese.base.load import base_info, load_scheduler
from siamese.base.training_state import Companion, TrainingState
from siamese.config.sections import TrainingConfig
from siamese.method.batch import Batch
from siamese.method.checkpoint import build_networks, save_generator
from siamese.method.law import build_law
from siamese.method.layout import build_layout
from siamese.method.networks import Networks
from siamese.method.registry import figures, training_step
from siamese.method.step import TERMS, Augmented, online_step
from siamese.training.loop import MicroBatch, Run, one_training, run_steps

COMPILED_VARIANTS = 64


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
    """Return the batch of the given pairs on `device`, its timesteps on the CPU.

    Every draw is a function of (cfg.seed, position), where position counts the pairs seen so far: nothing depends on
    the number of processes, on micro-batches or on when a run was interrupted.
    """
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


def compile_blocks(network: torch.nn.Module) -> None:
    """Compile the blocks of a network and its hint encoder, where it has them."""
    middle = [getattr(network, name) for name in ("mid_block", "controlnet_cond_embedding") if hasattr(network, name)]
    for block in (*getattr(network, "down_blocks", []), *middle, *getattr(network, "up_blocks", [])):
        block.compile(dynamic=True)  # the number of samples that are augmented online varies


def training_networks(row: Any, cfg: TrainingConfig, base_dir: Path, device: torch.device) -> Networks:
    """Return the networks as they are before the first step, on their device, compiled where cfg says so."""
    networks = build_networks(row, base_dir, item_seed(cfg.seed, "weights"))
    for network in networks.all():
        network.train(network not in (networks.unet, networks.teacher.get("decoder")))
        place(network, device)
        if cfg.gradient_checkpointing and getattr(network, "_supports_gradient_checkpointing", False):
            network.enable_gradient_checkpointing()
        if cfg.compile:
            compile_blocks(network)
    if cfg.compile:  # blocks of one class share the limit, and past it they would silently run uncompiled
        torch._dynamo.config.recompile_limit = COMPILED_VARIANTS
    return networks


def train_generator(data: TrainingData, row: Any, run: Run) -> None:
    """Train a generator and write it with loss.csv; only the first process writes.

    `row` is one of the classes in config/rows.py. A loss term that the method does not have is 0 in loss.csv; some
    switches log figures beside the terms there.

    Raises: UserError when a loss is not finite, with the step and the term, or when memory does not suffice.
    """
    cfg, scheduler, names = run.cfg, load_scheduler(run.base_dir), (*TERMS, *figures(row))
    with one_training(cfg) as accelerator:
        networks = training_networks(row, cfg, run.base_dir, accelerator.device)
        law = build_law(row, networks.unet, cfg.seed, accelerator.device)
        layout = build_layout(row, data, scheduler, cfg.seed, run.work, accelerator)
        companion = Companion(law.network, AdamW(law.network.parameters(), lr=row.law_lr)) if law else None
        state = TrainingState(networks.all(), networks.resumed(), cfg, accelerator, cfg.ema, companion=companion)

        def add_gradients(step: int, micro_batches: Sequence[MicroBatch], share: Tensor) -> Tensor:
            computed: list[dict[str, Tensor]] = []
            waiting: list[Augmented] = []
            for indices, positions in micro_batches:
                batch = draw_batch(data, indices, positions, scheduler, cfg, accelerator.device, row.t_sampling)
                with accelerator.autocast():
                    computed.append(training_step(networks, row, batch, step, cfg.steps, share, waiting, law, layout))
            if waiting:
                with accelerator.autocast():
                    online_step(networks.controlnet, networks.unet, waiting, share, len(micro_batches[0][0]))
            sums = [terms[name].sum() if name in terms else share.new_zeros(()) for terms in computed for name in names]
            return torch.stack(sums).view(len(computed), len(names)).sum(0)

        shown = (networks, data.context, data.masks, data.images)
        config = run_steps(row, len(data.mean), TERMS, run, state, accelerator, add_gradients, figures(row), shown)
        if accelerator.is_main_process:
            config["base"] = base_info(run.base_dir)["sha256"]
            save_generator(networks, data.context, config, run.out)
