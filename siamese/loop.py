"""The steps of a training with accelerate, of any method: any number of processes, resumed after a crash.

On the CPU the resumed run ends with the bytes of an unbroken one; on a GPU as far as its kernels repeat themselves.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from data.pairs.errors import UserError
from siamese import devices
from siamese.batches import pair_order
from siamese.config import TrainingConfig
from siamese.gradients import accumulate, out_of_memory
from siamese.state import TrainingState

# adds the gradients of share * sum of the loss over some pairs and returns the sum of each term:
# (step from 0, places of the pairs in the data, their places in the run, share)
AddGradients = Callable[[int, Sequence[int], Sequence[int], Tensor], Tensor]


def _check_finite(method: str, terms: Sequence[str], means: list[float], step: int, lr: float) -> None:
    broken = [f"{name}: {value}" for name, value in zip(terms, means, strict=True) if not math.isfinite(value)]
    if broken:
        hint = f"lower training.lr (now {lr:g}) or remove the outlier pairs"
        raise UserError(f"{method}: the loss is not finite at step {step}; {hint}", broken)


def run_steps(
    method: str,
    pairs: int,
    terms: Sequence[str],
    cfg: TrainingConfig,
    work: Path,
    state: TrainingState,
    accelerator: Accelerator,
    add_gradients: AddGradients,
) -> None:
    """Take every step from the last checkpoint in `work` on, each on cfg.batch of so many pairs, and log the terms.

    A step sees cfg.batch pairs, however many processes and micro-batches share them.

    Raises: UserError when a term is not finite, with the step.
    """
    device, processes = accelerator.device, accelerator.num_processes
    mine = slice(accelerator.process_index, None, processes)
    count = len(range(cfg.batch)[mine])
    most = math.ceil(cfg.batch / processes)
    micro = min(cfg.micro_batch or most, most)  # the same on every process, so that all halve alike
    start = state.resume(work)
    order = islice(pair_order(pairs, cfg.seed), start * cfg.batch, None)
    quiet = not accelerator.is_main_process
    bar = tqdm(total=cfg.steps, initial=start, desc=method, unit="step", mininterval=5, disable=quiet)
    say = (lambda text: None) if quiet else partial(bar.write, file=sys.stderr)
    say(f"{method}: {cfg.batch} pairs a step, on {processes} x {device.type}, up to {micro} at a time on each")
    if start:
        say(f"resumed at step {start} of {cfg.steps}")

    for step in range(start, cfg.steps):
        positions = list(range(step * cfg.batch, (step + 1) * cfg.batch))[mine]
        indices = list(islice(order, cfg.batch))[mine]
        share = state.scaler.scale(torch.tensor(1 / cfg.batch, device=device))

        def add_part(part: slice, *, step=step, indices=indices, positions=positions, share=share) -> Tensor:
            return add_gradients(step, indices[part], positions[part], share)

        sums, fitting = accumulate(add_part, count, micro, state.parameters, accelerator, cfg)
        if fitting < micro:
            say(f"out of memory: now {fitting} pairs at a time on each, still {cfg.batch} a step")
        micro = fitting
        means = (sums / cfg.batch).tolist()
        _check_finite(method, terms, means, step, cfg.lr)
        state.update()
        state.rows.append([step, *means])
        bar.set_postfix(loss=f"{sum(means):.3f}", refresh=False)
        bar.update()
        if (step + 1) % cfg.checkpoint_steps == 0 and step + 1 < cfg.steps and accelerator.is_main_process:
            state.save(work, step + 1)
    bar.close()


@contextlib.contextmanager
def one_training(cfg: TrainingConfig) -> Iterator[Accelerator]:
    """Yield the accelerator of a training; all processes begin and end together.

    Raises: UserError for fewer pairs a step than processes, and when memory does not suffice.
    """
    accelerator = devices.accelerator()
    if cfg.batch < accelerator.num_processes:
        raise UserError(f"training.batch {cfg.batch} is less than the {accelerator.num_processes} processes")
    accelerator.wait_for_everyone()
    try:
        yield accelerator
    except RuntimeError as error:
        if not devices.is_out_of_memory(error):
            raise
        place = f"for the networks and their optimiser on {accelerator.device}"
        raise out_of_memory(cfg, place, accelerator.mixed_precision) from error
    accelerator.wait_for_everyone()
