"""What training changes, on disk as checkpoints to resume from, and the log of its losses."""

import csv
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from data.pairs.errors import UserError
from siamese.base.checkpoint_files import flat_state, load_flat_state
from siamese.config.sections import TrainingConfig

LOG_ROWS = 100


def _adamw_8bit(parameters: list[nn.Parameter], **options: float) -> torch.optim.Optimizer:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UserError(
            "training.optimizer adamw_8bit needs bitsandbytes, which is not installed",
            ["pip install bitsandbytes", "or set training.optimizer: adamw"],
        ) from error
    return AdamW8bit(parameters, **options)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adamw_8bit": _adamw_8bit,
}
# a tenth of 10 steps would be a rise of one step, by whose length less one OneCycleLR divides
SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainingConfig], torch.optim.lr_scheduler.LRScheduler]] = {
    "constant": lambda optimizer, cfg: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
    "one_cycle": lambda optimizer, cfg: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, cfg.lr, cfg.steps, pct_start=0.2 if cfg.steps == 10 else 0.1, cycle_momentum=False
    ),
}


class Companion(NamedTuple):
    """A network that learns beside the generator, by an optimiser of its own, and is no part of it."""

    network: nn.Module
    optimizer: torch.optim.Optimizer


def write_step(work: Path, step: int, networks: Mapping[str, nn.Module], states: Mapping[str, Any]) -> None:
    """Write a checkpoint to resume from beside the last one, rename it, then drop the last one."""
    part = work / f".step-{step}.{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_file(flat_state(networks), part / "weights.safetensors")
    torch.save(dict(states), part / "state.pt")
    part.rename(work / f"step-{step}")
    for old in work.glob("step-*"):
        if old.name != f"step-{step}":
            shutil.rmtree(old)


def load_step(work: Path, networks: Mapping[str, nn.Module]) -> tuple[int, dict[str, Any]]:
    """Load the weights of the last whole checkpoint; return its step and states, or 0 and none where there is none."""
    steps = sorted(int(path.name.removeprefix("step-")) for path in work.glob("step-*"))
    if not steps:
        return 0, {}
    folder = work / f"step-{steps[-1]}"
    load_flat_state(networks, load_file(folder / "weights.safetensors"))
    return steps[-1], torch.load(folder / "state.pt", weights_only=True, map_location="cpu")


def write_rows(path: Path, names: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Write the loss terms as means over up to LOG_ROWS windows of steps; `step` is the last one of its window."""
    windows = np.array_split(np.array(rows), min(LOG_ROWS, len(rows)))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *names])
        writer.writerows([int(w[-1, 0]), *(f"{value:.6g}" for value in w[:, 1:].mean(0))] for w in windows)


class TrainingState:
    """Weights, optimiser, learning-rate schedule, loss scale, averaged weights and the log of one run.

    What has requires_grad set in the networks is trained; `saved` is what a checkpoint holds, by name. `ema` is the
    decay of the averaged weights, None for none; its options are those of diffusers' EMAModel. `rng` is a
    generator on the CPU whose draws go on where they were. `companion` is in the checkpoints to resume from alone.

    Raises: UserError when the optimiser's package is missing.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        saved: Mapping[str, nn.Module],
        cfg: TrainingConfig,
        accelerator: Accelerator,
        ema: float | None,
        *,
        rng: torch.Generator | None = None,
        companion: Companion | None = None,
        **ema_options: Any,
    ) -> None:
        self.saved, self.rng, self.companion = saved, rng, companion
        self.parameters = [p for net in networks for p in net.parameters() if p.requires_grad]
        beside = companion.network.parameters() if companion else ()
        self.learning = [*self.parameters, *beside]  # all that a step gives gradients to
        self.optimizer = OPTIMIZERS[cfg.optimizer](self.parameters, lr=cfg.lr, weight_decay=cfg.weight_decay)
        self.schedule = SCHEDULES[cfg.schedule](self.optimizer, cfg)
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=accelerator.mixed_precision == "fp16")
        at_once = self.parameters[0].device.type != "cpu"  # averages by one call, which would round otherwise there
        self.average = EMAModel(self.parameters, decay=ema, foreach=at_once, **ema_options) if ema else None
        self.rows: list[list[float]] = []  # step and loss terms

    def update(self) -> None:
        """Take one optimiser step with the gradients that are there."""
        scale = self.scaler.get_scale() if self.average else 0.0
        self.scaler.step(self.optimizer)
        if self.companion:
            self.scaler.step(self.companion.optimizer)
        self.scaler.update()
        self.schedule.step()
        # smaller: half precision overflowed, and nothing was changed
        if self.average and self.scaler.get_scale() >= scale:
            self.average.step(self.parameters)

    def _beside_weights(self) -> dict:
        values = {"optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}
        values |= {"average": self.average} if self.average else {}
        return values | ({f"companion {k}": v for k, v in self.companion._asdict().items()} if self.companion else {})

    def save(self, work: Path, step: int) -> None:
        """Write a checkpoint to resume from."""
        states = {name: value.state_dict() for name, value in self._beside_weights().items()}
        drawn = {"rng": self.rng.get_state()} if self.rng else {}
        write_step(work, step, self.saved, {**states, **drawn, "rows": self.rows})

    def resume(self, work: Path) -> int:
        """Load the last whole checkpoint, if there is one, and return the step to go on from."""
        step, states = load_step(work, self.saved)
        if not step:
            return 0
        for name, value in self._beside_weights().items():
            value.load_state_dict(states[name])
        if self.average:
            self.average.to(self.parameters[0].device)
        if self.rng:
            self.rng.set_state(states["rng"])
        self.rows = states["rows"]
        return step

    def write_losses(self, path: Path, names: Sequence[str]) -> None:
        """Write the log as `write_rows` does."""
        write_rows(path, names, self.rows)
