"""Optimisers and learning rates by name."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from segmentation.config.architectures import ArchitectureRow

OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"fused": True}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
}


def build_optimizer(network: nn.Module, row: ArchitectureRow) -> Optimizer:
    """Return the row's optimiser over four groups: encoder and head, each with and without weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = row.lr * (row.encoder_lr if name.startswith("encoder.") else 1)
        decay = row.weight_decay if row.decay_norms or parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    optimizer, options = OPTIMIZERS[row.optimizer]
    params = [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
    return optimizer(params, lr=row.lr, weight_decay=row.weight_decay, **options)


def _poly(optimizer: Optimizer, row: ArchitectureRow, steps: int) -> LRScheduler:
    """Return a rate that goes down to 0 in a line, times a rise for the share `warmup`; at least 1e-6 of the peak."""
    rising = int(row.warmup * steps)
    return LambdaLR(optimizer, lambda step: max(1e-6, (1 - step / steps) * min(1.0, step / rising if rising else 1.0)))


def _one_cycle(optimizer: Optimizer, row: ArchitectureRow, steps: int) -> LRScheduler:
    return OneCycleLR(optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=steps)


def _halved(optimizer: Optimizer, row: ArchitectureRow, steps: int) -> LRScheduler:
    # in steps, so that added pairs do not move them when the number of steps is held equal
    ends = [round((epoch - 1) * steps / row.epochs) for epoch in row.milestones]
    return MultiStepLR(optimizer, ends, gamma=0.5)


# name -> the schedule of a run of so many steps; all but plateau go on at every step, plateau at every validation loss
SCHEDULES: dict[str, Callable[[Optimizer, ArchitectureRow, int], LRScheduler]] = {
    "constant": lambda optimizer, row, steps: LambdaLR(optimizer, lambda step: 1.0),
    "one_cycle": _one_cycle,
    "steps": _halved,
    "poly": _poly,
    "plateau": lambda optimizer, row, steps: ReduceLROnPlateau(optimizer, factor=0.5, patience=10),
}
