"""Optimisers and learning rates by name."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from segmentation.config.architectures import ArchitectureRow

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": lambda groups, lr, decay: torch.optim.AdamW(groups, lr=lr, weight_decay=decay, fused=True),
    "adam": lambda groups, lr, decay: torch.optim.Adam(groups, lr=lr, weight_decay=decay, fused=True),
    "sgd": lambda groups, lr, decay: torch.optim.SGD(groups, lr=lr, weight_decay=decay, momentum=0.9, nesterov=True),
}


def build_optimizer(network: nn.Module, row: ArchitectureRow) -> Optimizer:
    """Return the row's optimiser over four groups: encoder and head, each with and without weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = row.lr * (row.encoder_lr if name.startswith("encoder.") else 1)
        decay = row.weight_decay if row.decay_norms or parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    rows: list[dict[str, Any]] = [
        {"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()
    ]
    return OPTIMIZERS[row.optimizer](rows, row.lr, row.weight_decay)


def _poly(row: ArchitectureRow, steps: int) -> Callable[[int], float]:
    """Return the factor at a step: down to 0 in a line, times a rise for the share `warmup`; at least 1e-6."""
    rising = int(row.warmup * steps)
    return lambda step: max(1e-6, (1 - step / steps) * min(1.0, step / rising if rising else 1.0))


class Rate:
    """The learning rate over a run: told of every optimiser step, and of every epoch with its validation loss."""

    def __init__(self, optimizer: Optimizer, row: ArchitectureRow, steps: int) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        self.by_step: lr_scheduler.LRScheduler | None = None
        self.plateau: lr_scheduler.ReduceLROnPlateau | None = None
        if row.schedule == "one_cycle":
            self.by_step = lr_scheduler.OneCycleLR(optimizer, max_lr=rates, total_steps=steps)
        elif row.schedule == "poly":
            self.by_step = lr_scheduler.LambdaLR(optimizer, _poly(row, steps))
        elif row.schedule == "steps":
            # in steps, so that added pairs do not move them when the number of steps is held equal
            ends = [round((epoch - 1) * steps / row.epochs) for epoch in row.milestones]
            self.by_step = lr_scheduler.MultiStepLR(optimizer, ends, gamma=0.5)
        elif row.schedule == "plateau":
            self.plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=10)

    def after_step(self) -> None:
        """Go on by one optimiser step."""
        if self.by_step:
            self.by_step.step()

    def after_epoch(self, val_loss: float | None) -> None:
        """Go on by one epoch."""
        if self.plateau and val_loss is not None:
            self.plateau.step(val_loss)

    def state(self) -> dict[str, Any]:
        """Return what `load` takes."""
        return {name: one.state_dict() for name, one in vars(self).items() if one is not None}

    def load(self, state: dict[str, Any]) -> None:
        """Go back to where a state was taken."""
        for name, values in state.items():
            getattr(self, name).load_state_dict(values)
