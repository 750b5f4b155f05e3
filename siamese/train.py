"""Training a generator on cached latents with accelerate: any number of processes, resumed after a crash bit by bit.

Every draw is a function of (seed, position), where position counts the pairs that training has seen; nothing depends on
the number of processes or on when the run was interrupted.
"""

import csv
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese.base import base_info, load_scheduler
from siamese.checkpoint import build_networks, load_trained_state, save_generator, trained_state
from siamese.config import Generator, TrainingConfig
from siamese.latents import TrainingData, image_hints, mask_hints
from siamese.step import TERMS, Batch, mask_step, siamese_step
from siamese.weights import loss_weights

LOG_ROWS = 100


def _order(count: int, seed: int) -> Iterator[int]:
    """Yield indices of pairs without end, a new permutation an epoch."""
    epoch = 0
    while True:
        rng = torch.Generator().manual_seed(item_seed(seed, "epoch", epoch))
        yield from torch.randperm(count, generator=rng).tolist()
        epoch += 1


def draw_batch(
    data: TrainingData, indices: list[int], positions: list[int], scheduler: DDIMScheduler, cfg: TrainingConfig
) -> Batch:
    """Return the batch for the given pairs; t, eps, latents and prompt dropout come from each position's seed."""
    timesteps, noises, latents, empty = [], [], [], []
    for index, position in zip(indices, positions, strict=True):
        rng = torch.Generator().manual_seed(item_seed(cfg.seed, "position", position))
        shape = data.mean[index].shape
        timesteps.append(torch.randint(0, scheduler.config.num_train_timesteps, (), generator=rng))
        latents.append(data.mean[index] + data.std[index] * torch.randn(shape, generator=rng))
        noises.append(torch.randn(shape, generator=rng))
        empty.append(int(torch.rand((), generator=rng) < cfg.prompt_dropout))
    t, noise = torch.stack(timesteps), torch.stack(noises)
    return Batch(
        noisy_latents=scheduler.add_noise(torch.stack(latents), noise, t),
        timesteps=t,
        sigmas=(1 - scheduler.alphas_cumprod[t]).sqrt(),
        noise=noise,
        context=data.context[empty],
        mask_hint=mask_hints(data.masks[indices]),
        image_hint=image_hints(data.images[indices]),
    )


def _save_state(work: Path, step: int, controlnet, unet, optimizer, schedule, rows: list[list[float]]) -> None:
    """Write a checkpoint to resume from beside the last one, rename it, then drop the last one."""
    part = work / f".step-{step}.{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file(trained_state(controlnet, unet), part / "weights.safetensors")
    states = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "rows": rows}
    torch.save(states, part / "state.pt")
    part.rename(work / f"step-{step}")
    for old in work.glob("step-*"):
        if old.name != f"step-{step}":
            shutil.rmtree(old)


def _resume(work: Path, controlnet, unet, optimizer, schedule) -> tuple[int, list[list[float]]]:
    """Return the step to go on from and the log so far, after loading the last whole checkpoint."""
    steps = sorted(int(path.name.removeprefix("step-")) for path in work.glob("step-*"))
    if not steps:
        return 0, []
    folder = work / f"step-{steps[-1]}"
    load_trained_state(controlnet, unet, load_file(folder / "weights.safetensors"))
    states = torch.load(folder / "state.pt", weights_only=True)
    optimizer.load_state_dict(states["optimizer"])
    schedule.load_state_dict(states["schedule"])
    return steps[-1], states["rows"]


def _write_losses(rows: list[list[float]], path: Path) -> None:
    """Write the loss terms as means over up to LOG_ROWS windows of steps; `step` is the last one of its window."""
    windows = np.array_split(np.array(rows), min(LOG_ROWS, len(rows)))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *TERMS])
        writer.writerows([int(w[-1, 0]), *(f"{value:.6g}" for value in w[:, 1:].mean(0))] for w in windows)


def _networks(row: Generator, cfg: TrainingConfig, base_dir: Path) -> tuple[ControlNetModel, UNet2DConditionModel]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(item_seed(cfg.seed, "weights"))
        controlnet, unet = build_networks(row, base_dir)
    return controlnet.to(memory_format=torch.channels_last), unet.to(memory_format=torch.channels_last)


def train_generator(
    data: TrainingData, row: Generator, cfg: TrainingConfig, base_dir: Path, out_dir: Path, work: Path
) -> None:
    """Train a generator and write it with loss.csv to out_dir; `work` holds the checkpoints to resume from.

    Raises: UserError when a loss is not finite, with the step and the term.
    """
    accelerator = Accelerator()
    if accelerator.mixed_precision == "fp16":
        raise UserError(
            "fp16 is not supported, because losses are not scaled; use ACCELERATE_MIXED_PRECISION=bf16 or no"
        )
    if cfg.batch < accelerator.num_processes:
        raise UserError(f"training.batch {cfg.batch} is less than the {accelerator.num_processes} processes")
    controlnet, unet = _networks(row, cfg, base_dir)
    controlnet.to(accelerator.device).train()
    unet.to(accelerator.device).eval()
    scheduler = load_scheduler(base_dir)
    parameters = [p for net in (controlnet, unet) for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=cfg.lr, weight_decay=cfg.weight_decay, fused=True)
    if cfg.schedule == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, cfg.lr, cfg.steps, pct_start=0.1, cycle_momentum=False
        )
    else:
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    start, rows = _resume(work, controlnet, unet, optimizer, schedule)

    order = _order(len(data.mean), cfg.seed)
    for _ in range(start * cfg.batch):
        next(order)
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    bar = tqdm(
        total=cfg.steps,
        initial=start,
        desc=row.method,
        unit="step",
        mininterval=5,
        disable=not accelerator.is_main_process,
    )
    if start:
        bar.write(f"resumed at step {start} of {cfg.steps}", file=sys.stderr)
    for step in range(start, cfg.steps):
        positions = list(range(step * cfg.batch, (step + 1) * cfg.batch))[mine]
        indices = [next(order) for _ in range(cfg.batch)][mine]
        batch = Batch(*(t.to(accelerator.device) for t in draw_batch(data, indices, positions, scheduler, cfg)))
        optimizer.zero_grad(set_to_none=True)
        with accelerator.autocast():
            weights = loss_weights(step, cfg.steps, batch.timesteps, row.switches)
            if row.switches.image_branch:
                terms = siamese_step(controlnet, unet, batch, weights, 1 / cfg.batch)
            else:
                terms = {"mask": mask_step(controlnet, unet, batch, 1 / cfg.batch)}
        sums = torch.stack(
            [terms[name].sum() if name in terms else torch.zeros((), device=accelerator.device) for name in TERMS]
        )
        means = (accelerator.reduce(sums, "sum") / cfg.batch).tolist()
        broken = [f"{name}: {value}" for name, value in zip(TERMS, means, strict=True) if not abs(value) < float("inf")]
        if broken:
            hint = f"lower training.lr (now {cfg.lr:g}) or remove the outlier pairs"
            raise UserError(f"{row.method}: the loss is not finite at step {step}; {hint}", broken)
        if accelerator.num_processes > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad = accelerator.reduce(parameter.grad, "sum")
        optimizer.step()
        schedule.step()
        rows.append([step, *means])
        bar.set_postfix(loss=f"{sum(means):.3f}", refresh=False)
        bar.update()
        if (step + 1) % cfg.checkpoint_steps == 0 and step + 1 < cfg.steps and accelerator.is_main_process:
            _save_state(work, step + 1, controlnet, unet, optimizer, schedule, rows)
    bar.close()

    if accelerator.is_main_process:
        names = {"generator": row.model_dump(mode="json"), "training": cfg.model_dump(mode="json")}
        config = {**names, "base": base_info(base_dir)["sha256"], "pairs": len(data.mean)}
        save_generator(controlnet, unet, data.context, config, out_dir)
        _write_losses(rows, out_dir / "loss.csv")
