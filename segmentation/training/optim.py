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


def build_schedule(optimizer: Optimizer, row: ArchitectureRow, steps: int) -> LRScheduler:
    """Return the row's schedule for a run of so many steps.

    All but plateau go on at every step, plateau at every validation loss. poly goes down to 0 in a line, times a rise
    for the share `warmup`, and stays at 1e-6 of the peak or more.
    """
    if row.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=10)
    if row.schedule == "one_cycle":
        return OneCycleLR(optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=steps)
    if row.schedule == "steps":
        # in steps, so that added pairs do not move them when the number of steps is held equal
        return MultiStepLR(optimizer, [round((epoch - 1) * steps / row.epochs) for epoch in row.milestones], gamma=0.5)
    rising = int(row.warmup * steps)

    def poly(step: int) -> float:
        return max(1e-6, (1 - step / steps) * (step / rising if step < rising else 1.0))

    return LambdaLR(optimizer, poly if row.schedule == "poly" else lambda step: 1.0)
