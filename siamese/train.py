"""Training a generator of any method on cached latents with accelerate: any number of processes, resumed after a crash.

On the CPU the resumed run ends with the bytes of an unbroken one; on a GPU as far as its kernels repeat themselves.
"""

import math
import sys
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese import devices
from siamese.attention import place
from siamese.base import base_info, load_scheduler
from siamese.batches import draw_batch, pair_order
from siamese.checkpoint import build_networks, save_generator
from siamese.config import TrainingConfig
from siamese.gradients import accumulate, out_of_memory
from siamese.latents import TrainingData
from siamese.methods import METHODS
from siamese.networks import Networks
from siamese.state import TrainingState
from siamese.step import TERMS

COMPILED_VARIANTS = 64


def _networks(row: Any, cfg: TrainingConfig, base_dir: Path, device: torch.device) -> Networks:
    networks = build_networks(row, base_dir, item_seed(cfg.seed, "weights"))
    for network in networks.all():
        network.train(network is not networks.unet)
        place(network, device)
        if cfg.gradient_checkpointing and getattr(network, "_supports_gradient_checkpointing", False):
            network.enable_gradient_checkpointing()
        if cfg.compile:
            middle = [network.mid_block] if hasattr(network, "mid_block") else []
            for block in (*getattr(network, "down_blocks", []), *middle, *getattr(network, "up_blocks", [])):
                block.compile(dynamic=True)  # the number of samples that are augmented online varies
    if cfg.compile:  # blocks of one class share the limit, and past it they would silently run uncompiled
        torch._dynamo.config.recompile_limit = COMPILED_VARIANTS
    return networks


def _check_finite(means: list[float], method: str, step: int, lr: float) -> None:
    broken = [f"{name}: {value}" for name, value in zip(TERMS, means, strict=True) if not math.isfinite(value)]
    if broken:
        hint = f"lower training.lr (now {lr:g}) or remove the outlier pairs"
        raise UserError(f"{method}: the loss is not finite at step {step}; {hint}", broken)


def _train(
    data: TrainingData,
    row: Any,
    cfg: TrainingConfig,
    base_dir: Path,
    work: Path,
    state: TrainingState,
    accelerator: Accelerator,
) -> None:
    device, processes, method = accelerator.device, accelerator.num_processes, METHODS[row.method]
    mine = slice(accelerator.process_index, None, processes)
    count = len(range(cfg.batch)[mine])
    most = math.ceil(cfg.batch / processes)
    micro = min(cfg.micro_batch or most, most)  # the same on every process, so that all halve alike
    scheduler = load_scheduler(base_dir)
    start = state.resume(work)
    order = islice(pair_order(len(data.mean), cfg.seed), start * cfg.batch, None)
    quiet = not accelerator.is_main_process
    bar = tqdm(total=cfg.steps, initial=start, desc=row.method, unit="step", mininterval=5, disable=quiet)
    say = (lambda text: None) if quiet else partial(bar.write, file=sys.stderr)
    say(f"{row.method}: {cfg.batch} pairs a step, on {processes} x {device.type}, up to {micro} at a time on each")
    if start:
        say(f"resumed at step {start} of {cfg.steps}")

    for step in range(start, cfg.steps):
        positions = list(range(step * cfg.batch, (step + 1) * cfg.batch))[mine]
        indices = list(islice(order, cfg.batch))[mine]
        share = state.scaler.scale(torch.tensor(1 / cfg.batch, device=device))

        def add_gradients(part: slice, *, indices=indices, positions=positions, share=share, step=step) -> Tensor:
            batch = draw_batch(data, indices[part], positions[part], scheduler, cfg, device, row.t_sampling)
            with accelerator.autocast():
                terms = method.step(state.networks, row, batch, step, cfg.steps, share)
            return torch.stack([terms[name].sum() if name in terms else share.new_zeros(()) for name in TERMS])

        sums, fitting = accumulate(add_gradients, count, micro, state.parameters, accelerator, cfg)
        if fitting < micro:
            say(f"out of memory: now {fitting} pairs at a time on each, still {cfg.batch} a step")
        micro = fitting
        means = (sums / cfg.batch).tolist()
        _check_finite(means, row.method, step, cfg.lr)
        state.update()
        state.rows.append([step, *means])
        bar.set_postfix(loss=f"{sum(means):.3f}", refresh=False)
        bar.update()
        if (step + 1) % cfg.checkpoint_steps == 0 and step + 1 < cfg.steps and accelerator.is_main_process:
            state.save(work, step + 1)
    bar.close()


def train_generator(
    data: TrainingData, row: Any, cfg: TrainingConfig, base_dir: Path, out_dir: Path, work: Path
) -> None:
    """Train a generator and write it with loss.csv to out_dir; `work` holds the checkpoints to resume from.

    `row` is one of the classes in siamese.rows. A loss term that the method does not have is 0 in loss.csv.

    Every optimiser step sees cfg.batch pairs, however many processes and micro-batches share them. Only the first
    process writes.

    Raises: UserError when a loss is not finite, with the step and the term, or when memory does not suffice.
    """
    accelerator = devices.accelerator()
    if cfg.batch < accelerator.num_processes:
        raise UserError(f"training.batch {cfg.batch} is less than the {accelerator.num_processes} processes")
    accelerator.wait_for_everyone()
    scaler = torch.amp.GradScaler(accelerator.device.type, enabled=accelerator.mixed_precision == "fp16")
    try:
        networks = _networks(row, cfg, base_dir, accelerator.device)
        state = TrainingState.begin(networks, cfg, scaler)
        _train(data, row, cfg, base_dir, work, state, accelerator)
    except RuntimeError as error:
        if not devices.is_out_of_memory(error):
            raise
        place = f"for the networks and their optimiser on {accelerator.device}"
        raise out_of_memory(cfg, place, accelerator.mixed_precision) from error

    if accelerator.is_main_process:
        if state.average:
            state.average.copy_to(state.parameters)
        names = {"generator": row.model_dump(mode="json"), "training": cfg.model_dump(mode="json")}
        config = {
            **names,
            "precision": accelerator.mixed_precision,
            "base": base_info(base_dir)["sha256"],
            "pairs": len(data.mean),
        }
        save_generator(networks, data.context, config, out_dir)
        state.write_losses(out_dir / "loss.csv", TERMS)
    accelerator.wait_for_everyone()
