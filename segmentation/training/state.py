"""What training changes, on disk to go on from, and the log of its losses."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from segmentation.training.optim import Rate
from segmentation.training.validation import Validation

CURVE_ROWS = 200


@dataclass
class Log:
    """What is kept of every optimiser step and of every epoch."""

    losses: list[float] = field(default_factory=list)
    epochs: list[tuple[int, float, float]] = field(default_factory=list)  # steps so far, validation Dice and loss


@dataclass
class Run:
    """Everything of a training run that changes."""

    network: nn.Module
    optimizer: Any
    rate: Rate
    validation: Validation
    log: Log
    epoch: int = 0  # that are done
    stopped: bool = False

    def save(self, path: Path) -> None:
        """Write a state to go on from, beside its place and then renamed."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.optimizer.scaler.state_dict() if self.optimizer.scaler else None,
            "rate": self.rate.state(),
            "validation": self.validation.state(),
            "log": vars(self.log),
            "epoch": self.epoch,
            "stopped": self.stopped,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        beside = path.with_suffix(".part")
        torch.save(state, beside)
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a state."""
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.optimizer.scaler.load_state_dict(state["scaler"])
        self.rate.load(state["rate"])
        for name, value in state["validation"].items():
            setattr(self.validation, name, value)
        self.log = Log(**state["log"])
        self.epoch, self.stopped = state["epoch"], state["stopped"]
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])


def curve(log: Log) -> str:
    """Return CSV of step, loss and validation Dice; a loss is the mean over the steps since the row before."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "val_dice"])
    scores = iter(log.epochs)
    ahead = next(scores, None)
    for steps in np.array_split(np.arange(len(log.losses)), min(CURVE_ROWS, len(log.losses))):
        score = ""
        while ahead and ahead[0] <= int(steps[-1]) + 1:
            score, ahead = f"{ahead[1]:.6g}", next(scores, None)
        writer.writerow([int(steps[-1]) + 1, f"{np.mean([log.losses[step] for step in steps]):.6g}", score])
    return text.getvalue()
