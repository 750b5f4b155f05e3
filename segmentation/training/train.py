"""Training a segmenter on real pairs and whatever was added to them."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.pairs import devices
from data.pairs.errors import UserError
from data.pairs.files import write_json, write_text
from data.pairs.finite import check_losses, check_weights
from data.pairs.manifest import PairSet
from data.pairs.seeds import item_seed
from segmentation.config.architectures import CONFIG, WEIGHTS, ArchitectureRow
from segmentation.inference.inputs import as_targets, at_size, normalize, scaled_sizes
from segmentation.networks import build_network
from segmentation.training.batches import Batch, TrainingPairs, chosen_pairs, count_batches
from segmentation.training.losses import LOSSES
from segmentation.training.optim import Rate, build_optimizer
from segmentation.training.state import Log, Run, curve
from segmentation.training.validation import Validation, validation_sets

CURVE = "curve.csv"
STATE, SAVE_EVERY_S = "state.pt", 60.0


def _sizes(row: ArchitectureRow, seed: int, epoch: int, number: int) -> list[int]:
    return scaled_sizes(row.scales, row.input_px, np.random.default_rng(item_seed("size", seed, epoch, number)))


def steps_a_batch(row: ArchitectureRow) -> int:
    """Return how many optimiser steps one batch makes."""
    return len(row.scales.factors) if row.scales and row.scales.draw == "each" else 1


def _advice(row: ArchitectureRow, settings: str | None) -> list[str]:
    of = f" of {settings}" if settings else ""
    return [f"lower lr{of}, which is {row.lr:g}", "train in full precision (ACCELERATE_MIXED_PRECISION=no)"]


class Stepper:
    """One optimiser step after the other, on accelerate's device and in its precision."""

    def __init__(
        self, run: Run, row: ArchitectureRow, accelerator: Any, steps: int, name: str, settings: str | None
    ) -> None:
        self.run, self.row, self.accelerator, self.steps = run, row, accelerator, steps
        self.name, self.advice = name, _advice(row, settings)

    def batch(self, batch: Batch, sizes: Sequence[int]) -> None:
        """Take a step at every size."""
        images, masks = batch
        inputs = normalize(images, self.row, self.accelerator.device)
        targets = as_targets(masks, self.accelerator.device)
        for size_px in sizes:
            self._step(*at_size(inputs, targets, size_px, self.row))

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        run = self.run
        with self.accelerator.autocast():
            outputs = run.network(inputs)
        maps = tuple(logits.float() for logits in outputs.maps)
        embedding = None if outputs.embedding is None else outputs.embedding.float()
        loss = run.validation.loss_of(outputs._replace(maps=maps, embedding=embedding), targets)
        run.log.losses.append(loss.item())
        step = len(run.log.losses) - 1
        check_losses(self.name, step, self.steps, {"loss": run.log.losses[-1]}, self.advice)
        run.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if self.row.gradient_clamp is not None:
            self.accelerator.unscale_gradients(run.optimizer)
            # element by element, as the sources do: a limit on the norm would be another method
            nn.utils.clip_grad_value_(run.network.parameters(), self.row.gradient_clamp)
        run.optimizer.step()
        run.rate.after_step()


def _epochs(row: ArchitectureRow, pairs: TrainingPairs, batches: int, done: int) -> Iterator[tuple[int, list | Any]]:
    """Yield (epoch, its batches) from epoch `done` on; the last epoch may be cut short by the budget."""
    each = math.ceil(len(pairs.keys) / row.batch)
    for epoch in range(done, math.ceil(batches / each)):
        yield epoch, zip(range(min(each, batches - epoch * each)), pairs.epoch(epoch), strict=False)


def train(
    real: PairSet,
    synthetic: PairSet,
    row: ArchitectureRow,
    out_dir: Path,
    *,
    seed: int,
    val: PairSet | None = None,
    tests: Sequence[PairSet] = (),
    work: Path | None = None,
    name: str | None = None,
    settings: str | None = None,
) -> dict[str, object]:
    """Return what was done, and write the weights, the configuration and the loss curve into a fresh folder.

    The pairs of both sets form one training set; `synthetic` may be empty. The initial weights depend on `seed` alone,
    so that runs with different pairs start alike. Device and precision are accelerate's, from the environment.
    `val` is the validation split where there is one; `tests` are looked at only with keep: best_test. From `work`, a
    folder that outlives a crash, a run goes on at its last saved epoch and, on the CPU, ends with the same bytes.
    `name` is the training's own in messages (else the network's), `settings` the key of params.yaml that `row` is.

    Raises: UserError when there are no pairs, or fewer than the row asks for, when the row needs validation pairs and
    there are none, when the encoder is unusable, when the loss or a weight is no longer a finite number, and as
    `data.pairs.devices.accelerator`.
    """
    accelerator = devices.accelerator()
    name = name or row.network
    planned = len(real)
    used, added, looked_at = validation_sets(
        row, real, synthetic, val, tests, seed, lambda text: sys.stderr.write(f"warning: {text}\n")
    )
    used, added = chosen_pairs(used, added, row)
    pairs = TrainingPairs(used, added, row, seed, ahead=accelerator.device.type != "cpu")
    batches = count_batches(row, planned if row.budget == "equal_steps" else len(used), len(added))
    steps = batches * steps_a_batch(row)
    with torch.random.fork_rng():  # the layers draw their weights, and drop paths, from the global generator only
        torch.manual_seed(item_seed("weights", seed))
        network = build_network(row).to(accelerator.device).to(memory_format=torch.channels_last)
        torch.manual_seed(item_seed("training", seed))
        optimizer = build_optimizer(network, row)
        rate = Rate(optimizer, row, steps)
        validation = Validation(looked_at, row, LOSSES[row.loss](row), accelerator.device)
        run = Run(network, accelerator.prepare_optimizer(optimizer), rate, validation, Log())
        if work and (work / STATE).is_file():
            run.load(work / STATE)
        _train_epochs(run, row, pairs, Stepper(run, row, accelerator, steps, name, settings), batches, work, seed)
    check_weights(name, len(run.log.losses), network.parameters(), _advice(row, settings))
    facts: dict[str, object] = {
        "seed": seed,
        "real": len(used),
        "synthetic": len(added),
        "steps": len(run.log.losses),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "kept_epoch": run.validation.best_epoch if run.validation.weights and row.keep != "last" else run.epoch,
        "validation_pairs": sum(len(pair_set) for pair_set in looked_at),
    }
    if accelerator.is_main_process:
        _write(run, row, out_dir, facts)
    return facts


def _train_epochs(
    run: Run, row: ArchitectureRow, pairs: TrainingPairs, stepper: Stepper, batches: int, work: Path | None, seed: int
) -> None:
    """Train until the budget is used up or early stopping ends it, saving a state from time to time."""
    from tqdm import tqdm

    started = saved = time.monotonic()
    bar = tqdm(total=stepper.steps, initial=len(run.log.losses), desc=stepper.name, mininterval=5)
    for epoch, numbered in _epochs(row, pairs, batches, run.epoch):
        if run.stopped:
            break
        for number, batch in numbered:
            sizes = _sizes(row, seed, epoch, number)
            stepper.batch(batch, sizes)
            bar.update(len(sizes))
        run.epoch = epoch + 1
        score = loss = None
        if run.validation.sets:
            score, loss = run.validation.look(run.network, run.epoch)
            run.log.epochs.append((len(run.log.losses), score, loss))
            run.stopped = run.validation.stops(run.epoch)
        run.rate.after_epoch(loss)
        if work and time.monotonic() - saved > SAVE_EVERY_S:
            run.save(work / STATE)
            saved = time.monotonic()
    bar.close()
    took = max(time.monotonic() - started, 1e-9)
    sys.stderr.write(f"{stepper.name}: waited for data {100 * pairs.waited_s / took:.0f} % of the time\n")


def _write(run: Run, row: ArchitectureRow, out_dir: Path, facts: dict[str, object]) -> None:
    from safetensors.torch import save_file

    if row.keep != "last" and not run.validation.weights:
        raise UserError(
            f"the {row.network} never had a validation score that is a number: lower lr, which is {row.lr:g}"
        )
    chosen = run.validation.weights if row.keep != "last" else run.network.state_dict()
    save_file({name: value.detach().cpu().contiguous() for name, value in chosen.items()}, out_dir / WEIGHTS)
    write_json(out_dir / CONFIG, {"row": row.model_dump(mode="json"), **facts})
    write_text(out_dir / CURVE, curve(run.log))
