"""Training ArSDM on images and masks with accelerate: any number of processes, resumed after a crash.

On the CPU the resumed run ends with the bytes of an unbroken one; on a GPU as far as its kernels repeat themselves.
"""

import math
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from siamese import devices
from siamese.arsdm.checkpoint import build_network, check_size, save_network
from siamese.arsdm.config import ArsdmRow
from siamese.arsdm.sample import noise_schedule
from siamese.arsdm.state import RunState
from siamese.arsdm.step import TERMS, Refinement, add_step_gradients, draw_batch
from siamese.batches import pair_order
from siamese.config import TrainingConfig
from siamese.gradients import accumulate, out_of_memory


def first_refined_step(row: ArsdmRow, steps: int) -> int:
    """Return the step from which on a segmenter refines, counted from 0; `steps` when none does."""
    return steps if row.refine == "off" else steps - max(1, round(row.refine_share * steps))


def _begin(row: ArsdmRow, cfg: TrainingConfig, accelerator: Accelerator) -> RunState:
    network = build_network(row, item_seed(cfg.seed, "weights"))
    network.to(accelerator.device, memory_format=torch.channels_last).train()
    network.gradient_checkpointing = cfg.gradient_checkpointing
    if cfg.compile:
        network.compile()
    scaler = torch.amp.GradScaler(accelerator.device.type, enabled=accelerator.mixed_precision == "fp16")
    return RunState.begin(network, row, cfg, scaler)


def _check_finite(means: list[float], step: int, lr: float) -> None:
    broken = [f"{name}: {value}" for name, value in zip(TERMS, means, strict=True) if not math.isfinite(value)]
    if broken:
        hint = f"lower training.lr (now {lr:g}) or remove the outlier pairs"
        raise UserError(f"arsdm: the loss is not finite at step {step}; {hint}", broken)


def _train(
    images: np.ndarray,
    masks: np.ndarray,
    row: ArsdmRow,
    cfg: TrainingConfig,
    work: Path,
    state: RunState,
    accelerator: Accelerator,
    refinement: Refinement | None,
) -> None:
    device, processes = accelerator.device, accelerator.num_processes
    mine = slice(accelerator.process_index, None, processes)
    count = len(range(cfg.batch)[mine])
    most = math.ceil(cfg.batch / processes)
    micro = min(cfg.micro_batch or most, most)  # the same on every process, so that all halve alike
    schedule, refine_from = noise_schedule(), first_refined_step(row, cfg.steps)
    start = state.resume(work)
    order = islice(pair_order(len(images), cfg.seed), start * cfg.batch, None)
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
        now = refinement if step >= refine_from else None

        def add_gradients(part: slice, *, indices=indices, positions=positions, share=share, now=now) -> Tensor:
            batch = draw_batch(images, masks, indices[part], positions[part], schedule, cfg.seed, device)
            with accelerator.autocast():
                return add_step_gradients(state.network, batch, schedule, row, share, now)

        sums, fitting = accumulate(add_gradients, count, micro, list(state.network.parameters()), accelerator, cfg)
        if fitting < micro:
            say(f"out of memory: now {fitting} pairs at a time on each, still {cfg.batch} a step")
        micro = fitting
        means = (sums / cfg.batch).tolist()
        _check_finite(means, step, cfg.lr)
        state.update()
        state.rows.append([step, *means])
        bar.set_postfix(loss=f"{sum(means):.3f}", refresh=False)
        bar.update()
        if (step + 1) % cfg.checkpoint_steps == 0 and step + 1 < cfg.steps and accelerator.is_main_process:
            state.save(work, step + 1)
    bar.close()


def fit(
    images: np.ndarray,
    masks: np.ndarray,
    row: ArsdmRow,
    cfg: TrainingConfig,
    out: Path,
    work: Path,
    *,
    refinement: Refinement | None = None,
) -> None:
    """Train on images uint8 (N, H, W, 3) and masks (N, H, W), lesion above 0; write weights, config, loss.csv to `out`.

    `work` holds the checkpoints to resume from. Every optimiser step sees cfg.batch pairs, however many processes and
    micro-batches share them; only the first process writes. cfg.prompt_dropout and cfg.ema are not read: there is no
    prompt, and the row has its own decay. What is written are the averaged weights, where there are any.

    Raises: UserError when the size does not fit, when the row refines and there is no `refinement`, when a loss is not
    finite, or when memory does not suffice.
    """
    accelerator = devices.accelerator()
    check_size(row, *images.shape[1:3])
    if row.refine != "off" and refinement is None:
        raise UserError(f"arsdm: refine: {row.refine} needs a trained segmenter", ["give one, or set refine: off"])
    if cfg.batch < accelerator.num_processes:
        raise UserError(f"training.batch {cfg.batch} is less than the {accelerator.num_processes} processes")
    accelerator.wait_for_everyone()
    try:
        state = _begin(row, cfg, accelerator)
        _train(images, masks, row, cfg, work, state, accelerator, refinement)
    except RuntimeError as error:
        if not devices.is_out_of_memory(error):
            raise
        place = f"for the network and its optimiser on {accelerator.device}"
        raise out_of_memory(cfg, place, accelerator.mixed_precision) from error

    if accelerator.is_main_process:
        if state.average:
            state.average.copy_to(state.network.parameters())
        rows = {"generator": row.model_dump(mode="json"), "training": cfg.model_dump(mode="json")}
        config = {**rows, "precision": accelerator.mixed_precision, "pairs": len(images), "size_px": images.shape[1]}
        save_network(state.network, config, out)
        state.write_losses(out / "loss.csv", TERMS)
    accelerator.wait_for_everyone()
