"""The steps of one stage of DFMGAN, on any number of processes, resumed after a crash."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from data.pairs.seeds import item_seed
from data.pairs.training import check_losses, check_weights
from siamese.base.devices import LateReader, full_precision
from siamese.config.sections import TrainingConfig
from siamese.dfmgan.augment import EVERY, next_probability
from siamese.dfmgan.phases import Phase, phases
from siamese.dfmgan.stage import Stage
from siamese.dfmgan.state import average_towards, mend_gradients
from siamese.training.gradients import accumulate
from siamese.training.loop import pair_order

UNCHECKED = ("mode_seeking",)  # infinite where masks are equal, by its definition


class _Batches:
    """How a phase takes its share of each batch, on this process and in micro-batches that fit its memory."""

    def __init__(self, stage: Stage, cfg: TrainingConfig, accelerator: Accelerator) -> None:
        self.stage, self.cfg, self.accelerator = stage, cfg, accelerator
        self.mine = slice(accelerator.process_index, None, accelerator.num_processes)
        most = -(-cfg.batch // accelerator.num_processes)
        self.micro = min(cfg.micro_batch or most, most)

    def take(self, phase: Phase, step: int, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Take one optimiser step of a phase; return means of its terms and whether a gradient was not finite."""
        stage, accelerator, state = self.stage, self.accelerator, self.stage.state
        count = max(1, len(indices) // 2) if phase.half else len(indices)
        places = list(indices)[:count][self.mine]
        positions = list(range(step * self.cfg.batch, step * self.cfg.batch + count))[self.mine]
        share = torch.tensor((phase.every if phase.lazy else 1) / count, device=stage.device)
        width = len(phase.terms) + (phase.after is not None)
        exact = phase.lazy or accelerator.mixed_precision == "fp16"  # fp16 would need a scale of every loss
        state.train_only(phase.trained)

        def compute(micro: int) -> Tensor:
            sums = torch.zeros(width, device=stage.device)
            for start in range(0, len(places), micro):
                part = slice(start, start + micro)
                with full_precision(stage.device) if exact else accelerator.autocast():
                    sums = sums + phase.compute(step, places[part], positions[part], share)
            return sums

        network = state.networks[phase.trained]
        sums, self.micro = accumulate(compute, self.micro, list(network.parameters()), accelerator, self.cfg)
        broken = mend_gradients(network)
        state.optimizers[phase.trained].step()
        if phase.after:
            phase.after(sums[len(phase.terms) :], count)
        return sums[: len(phase.terms)] / count, broken


def run_stage(
    name: str, stage: Stage, images: int, ada_images: int, cfg: TrainingConfig, work: Path, accelerator: Accelerator
) -> list[str]:
    """Train on so many images from the last checkpoint on; return the names of the log's columns, behind the step.

    A term that is computed every few steps keeps its last value between. `zeroed` counts the optimiser steps with a
    gradient that was not finite and was mended.

    Raises: UserError when a term is not finite, or when memory does not suffice.
    """
    row, state, batch = stage.row, stage.state, cfg.batch
    steps, plan = -(-images // batch), phases(stage)
    terms = [term for phase in plan for term in phase.terms]
    columns = [*terms, "ada_p", "zeroed"]
    half = row.ema_images or batch * 10_000 / 32
    advice = [f"lower lr of the dfmgan in generators (now {cfg.lr:g})", "remove the outlier images"]
    start = state.resume(work)
    latest = dict(zip(columns, state.rows[-1][1:], strict=True)) if start else dict.fromkeys(columns, 0.0)
    values = {term: torch.tensor(latest[term], device=stage.device) for term in columns}
    seed = item_seed(stage.seed, "order")
    order = itertools.islice(pair_order(len(stage.pool.images), seed), start * batch, None)
    quiet = not accelerator.is_main_process
    bar = tqdm(total=steps, initial=start, desc=name, unit="step", mininterval=5, disable=quiet)
    if start:
        bar.write(f"{name}: resumed at step {start} of {steps}", file=sys.stderr)

    def log(step: int, means: list[float]) -> None:
        checked = {name: mean for name, mean in zip(columns, means, strict=True) if name not in UNCHECKED}
        check_losses(name, step, steps, checked, advice)
        state.rows.append([step, *means])
        bar.set_postfix(g=f"{means[0]:.3f}", d=f"{checked['d']:.3f}", refresh=False)

    batches, losses = _Batches(stage, cfg, accelerator), LateReader(log)
    alone = ", and without mode seeking, which compares two" if stage.defect and row.lambda_ms else ""
    if batches.micro == 1 and alone:
        bar.write(f"{name}: 1 at a time{alone}", file=sys.stderr)
    for step in range(start, steps):
        indices = list(itertools.islice(order, batch))
        values["zeroed"] = torch.zeros((), device=stage.device)
        for phase in plan:
            if step % phase.every == 0:
                micro = batches.micro
                means, broken = batches.take(phase, step, indices)
                if batches.micro < micro:
                    how = f"now {batches.micro} at a time{alone if batches.micro == 1 else ''}"
                    bar.write(f"{name}: out of memory: {how}", file=sys.stderr)
                values |= dict(zip(phase.terms, means, strict=True))
                values["zeroed"] = values["zeroed"] + broken
        if "mode_seeking" in values:
            seeking = values["mode_seeking"]
            values["mode_seeking"] = torch.where(seeking.isfinite(), seeking, torch.zeros_like(seeking))
        average_towards(
            state.average, state.networks["generator"], step * batch, batch, half, ramp=stage.defect is None
        )
        if row.augment == "ada" and (step + 1) % EVERY == 0:
            total, count = state.signs.tolist()
            state.ada_p = next_probability(state.ada_p, total / count, row.ada_target, batch, ada_images)
            state.signs = torch.zeros_like(state.signs)
        values["ada_p"] = torch.tensor(state.ada_p, device=stage.device)
        losses.put(step, torch.stack([values[column] for column in columns]))
        bar.update()
        if (step + 1) % cfg.checkpoint_steps == 0 and step + 1 < steps:
            losses.flush()
            if accelerator.is_main_process:
                state.save(work, step + 1)
    losses.flush()
    check_weights(name, steps, [p for network in state.networks.values() for p in network.parameters()], advice)
    bar.close()
    return columns
