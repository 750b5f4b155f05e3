"""The steps of a training with accelerate, of any method: any number of processes, resumed after a crash.

On the CPU the resumed run ends with the bytes of an unbroken one; on a GPU as far as its kernels repeat themselves.
"""

import contextlib
import importlib
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from data.pairs import training
from data.pairs.errors import UserError
from data.pairs.seeds import item_seed
from data.pairs.training import check_losses, check_weights
from siamese.base.devices import LateReader, is_out_of_memory
from siamese.base.training_state import TrainingState
from siamese.config.sections import TrainingConfig
from siamese.training.gradients import accumulate, out_of_memory

# one micro-batch: places of its pairs in the data, their places in the run
MicroBatch = tuple[Sequence[int], Sequence[int]]
# adds the gradients of share * sum of the loss over all pairs of the micro-batches and returns the sum of each term:
# (step from 0, the process's micro-batches, share)
AddGradients = Callable[[int, Sequence[MicroBatch], Tensor], Tensor]
LIVE = ("SIAMESE_TRACKERS", "SIAMESE_SAMPLES_EVERY")  # set to something, the training is watched


@dataclass(frozen=True)
class Run:
    """One training: its settings and folders."""

    cfg: TrainingConfig
    base_dir: Path  # the base model
    out: Path  # where the generator is written
    work: Path  # checkpoints to resume from
    refiner: Path | None = None  # the exported loss of a segmenter, for the methods that refine
    live: Path = Path("live")  # curves and samples while it goes on, where the environment asks for them


def pair_order(count: int, seed: int) -> Iterator[int]:
    """Yield indices of pairs without end, a new permutation an epoch."""
    for epoch in itertools.count():
        rng = torch.Generator().manual_seed(item_seed(seed, "epoch", epoch))
        yield from torch.randperm(count, generator=rng).tolist()


def watching() -> Any:
    """Return siamese.live.watch if the environment asks for it, by its name: a change of what watches trains nothing.

    Raises: UserError when it asks for what is not here.
    """
    if not any(map(os.environ.get, LIVE)):
        return None
    watch = importlib.import_module("siamese.live.watch")
    watch.check()
    return watch


def run_steps(
    row: Any,
    pairs: int,
    terms: Sequence[str],
    run: Run,
    state: TrainingState,
    accelerator: Accelerator,
    add_gradients: AddGradients,
    figures: Sequence[str] = (),
    shown: tuple[Any, ...] = (),
) -> dict[str, Any]:
    """Take every step from the last checkpoint on, each on cfg.batch of so many pairs; log the terms.

    `figures` are logged behind the terms, and not in the loss that the progress bar shows. `shown` is what samples can
    be drawn from while it goes on: the fields of siamese.live.samples.Shown, of a method on latents.
    A step sees cfg.batch pairs, however many processes and micro-batches share them. Averaged weights, where there are
    any, are in place of the last ones then. Returns what the generator's config.json says of the run; the first process
    has written loss.csv.

    Raises: UserError when a term is not finite, with the step.
    """
    cfg, work, names = run.cfg, run.work, (*terms, *figures)
    method, device, processes = row.method, accelerator.device, accelerator.num_processes
    mine = slice(accelerator.process_index, None, processes)
    most = math.ceil(cfg.batch / processes)
    micro = min(cfg.micro_batch or most, most)  # the same on every process, so that all halve alike
    rate = "training.lr" if row.lr is None else f"lr of the {method} in generators"
    advice = [f"lower {rate} (now {cfg.lr:g})", "remove the outlier pairs"]
    start = state.resume(work)
    order = itertools.islice(pair_order(pairs, cfg.seed), start * cfg.batch, None)
    quiet = not accelerator.is_main_process
    bar = tqdm(total=cfg.steps, initial=start, desc=method, unit="step", mininterval=5, disable=quiet)
    say = (lambda text: None) if quiet else partial(bar.write, file=sys.stderr)
    say(f"{method}: {cfg.batch} pairs a step, on {processes} x {device.type}, up to {micro} at a time on each")
    if start:
        say(f"resumed at step {start} of {cfg.steps}")

    live = None if quiet else watching()
    watch = live.Watch(row, run, names, state, accelerator, start, shown) if live else None

    def log(step: int, means: list[float]) -> None:
        check_losses(method, step, cfg.steps, dict(zip(names, means, strict=True)), advice)
        state.rows.append([step, *means])
        bar.set_postfix(loss=f"{sum(means[: len(terms)]):.3f}", refresh=False)
        if watch:
            watch.logged(step)

    losses, one_pair = LateReader(log), torch.tensor(1 / cfg.batch, device=device)
    for step in range(start, cfg.steps):
        positions = list(range(step * cfg.batch, (step + 1) * cfg.batch))[mine]
        indices = list(itertools.islice(order, cfg.batch))[mine]
        share = state.scaler.scale(one_pair)

        def compute(micro: int, *, step=step, indices=indices, positions=positions, share=share) -> Tensor:
            starts = range(0, len(indices), micro)
            return add_gradients(step, [(indices[i : i + micro], positions[i : i + micro]) for i in starts], share)

        sums, fitting = accumulate(compute, micro, state.learning, accelerator, cfg)
        if fitting < micro:
            say(f"out of memory: now {fitting} pairs at a time on each, still {cfg.batch} a step")
        micro = fitting
        losses.put(step, sums / cfg.batch)
        state.update()
        bar.update()
        if watch:
            watch.stepped(step + 1)
        if (step + 1) % cfg.checkpoint_steps == 0 and step + 1 < cfg.steps:
            losses.flush()
            if accelerator.is_main_process:
                state.save(work, step + 1)
    losses.flush()
    check_weights(method, cfg.steps, state.learning, advice)
    bar.close()
    if state.average:
        state.average.copy_to(state.parameters)
    if accelerator.is_main_process:
        state.write_losses(run.out / "loss.csv", names)
    settings = {"generator": row.model_dump(mode="json"), "training": cfg.model_dump(mode="json")}
    return {**settings, "precision": accelerator.mixed_precision, "pairs": pairs}


@contextlib.contextmanager
def one_training(cfg: TrainingConfig) -> Iterator[Accelerator]:
    """Yield the accelerator of a training; all processes begin and end together, and its trackers end with it.

    Raises: UserError for fewer pairs a step than processes, when the environment asks for a tracker that is not here,
    and when memory does not suffice.
    """
    watching()
    accelerator = training.accelerator()
    if cfg.batch < accelerator.num_processes:
        raise UserError(f"training.batch {cfg.batch} is less than the {accelerator.num_processes} processes")
    accelerator.wait_for_everyone()
    try:
        yield accelerator
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        place = f"for the networks and their optimiser on {accelerator.device}"
        raise out_of_memory(cfg, place, accelerator.mixed_precision) from error
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
    accelerator.wait_for_everyone()
