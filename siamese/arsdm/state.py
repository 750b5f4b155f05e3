"""What training changes, on disk as checkpoints to resume from, and the log of its losses."""

import csv
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from siamese.arsdm.config import ArsdmRow
from siamese.arsdm.network import SpadeUNet
from siamese.config import TrainingConfig
from siamese.state import LOG_ROWS, OPTIMIZERS, SCHEDULES


@dataclass
class RunState:
    """Network, optimiser, learning-rate schedule, loss scale, averaged weights and the log of one run."""

    network: SpadeUNet
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler  # does nothing unless the precision is fp16
    average: EMAModel | None
    rows: list[list[float]] = field(default_factory=list)  # step and loss terms

    @classmethod
    def begin(cls, network: SpadeUNet, row: ArsdmRow, cfg: TrainingConfig, scaler: torch.amp.GradScaler) -> "RunState":
        """Return the state before the first step. Raises: UserError when the optimiser's package is missing."""
        parameters = list(network.parameters())
        optimizer = OPTIMIZERS[cfg.optimizer](parameters, cfg)
        # update_after_step=-1 makes the decay of update n min(ema, (1 + n) / (10 + n)), n from 1: as in the source
        average = EMAModel(parameters, decay=row.ema, update_after_step=-1) if row.ema else None
        return cls(network, optimizer, SCHEDULES[cfg.schedule](optimizer, cfg), scaler, average)

    def update(self) -> None:
        """Take one optimiser step with the gradients that are there."""
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        skipped = self.scaler.get_scale() < scale  # half precision overflowed, and nothing was changed
        if self.average and not skipped:
            self.average.step(self.network.parameters())

    def _parts(self) -> dict:
        parts = {"optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}
        return parts | ({"average": self.average} if self.average else {})

    def save(self, work: Path, step: int) -> None:
        """Write a checkpoint to resume from beside the last one, rename it, then drop the last one."""
        part = work / f".step-{step}.{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        save_file(
            {name: value.contiguous() for name, value in self.network.state_dict().items()},
            part / "weights.safetensors",
        )
        states = {name: value.state_dict() for name, value in self._parts().items()}
        torch.save({**states, "rows": self.rows}, part / "state.pt")
        part.rename(work / f"step-{step}")
        for old in work.glob("step-*"):
            if old.name != f"step-{step}":
                shutil.rmtree(old)

    def resume(self, work: Path) -> int:
        """Load the last whole checkpoint, if there is one, and return the step to go on from."""
        steps = sorted(int(path.name.removeprefix("step-")) for path in work.glob("step-*"))
        if not steps:
            return 0
        folder = work / f"step-{steps[-1]}"
        self.network.load_state_dict(load_file(folder / "weights.safetensors"))
        states = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        for name, value in self._parts().items():
            value.load_state_dict(states[name])
        if self.average:
            self.average.to(next(self.network.parameters()).device)
        self.rows = states["rows"]
        return steps[-1]

    def write_losses(self, path: Path, names: tuple[str, ...]) -> None:
        """Write the loss terms as means over up to LOG_ROWS windows of steps; `step` is the last one of its window."""
        windows = np.array_split(np.array(self.rows), min(LOG_ROWS, len(self.rows)))
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", *names])
            writer.writerows([int(w[-1, 0]), *(f"{value:.6g}" for value in w[:, 1:].mean(0))] for w in windows)
