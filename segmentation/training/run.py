"""A training run: its optimiser and learning rates, its steps, its state to go on from, the curve of its losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from data.pairs.tables import csv_text
from data.pairs.training import check_losses
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.inputs import Decoded, as_targets, at_size, normalize
from segmentation.networks.blocks import Network
from segmentation.training.batches import Batch
from segmentation.training.losses import Loss
from segmentation.training.validation import look

CURVE_ROWS = 200
DONE = ("losses", "scores", "epochs", "stopped", "best", "best_epoch", "weights")  # what a run has come to

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


@dataclass
class Run:
    """Everything of a training run that changes. `settings` is the row's name in messages."""

    row: ArchitectureRow
    settings: str
    accelerator: Any
    steps: int  # of the whole run
    network: Network
    optimizer: Any
    schedule: LRScheduler
    loss_of: Loss
    looked_at: Sequence[Decoded]  # for validation after each epoch
    losses: list[float] = field(default_factory=list)  # of every optimiser step
    scores: list[tuple[int, float, float]] = field(default_factory=list)  # steps so far, validation Dice and loss
    epochs: int = 0  # that are done
    stopped: bool = False
    best: float = -1.0  # validation Dice so far
    best_epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the best epoch, where the row asks for them

    def __post_init__(self) -> None:
        self.advice = [
            f"lower lr of {self.settings}, which is {self.row.lr:g}",
            "train in full precision (ACCELERATE_MIXED_PRECISION=no)",
        ]

    def take_steps(self, batch: Batch, sizes: Sequence[int]) -> None:
        """Take an optimiser step at every size, in accelerate's precision.

        Raises: UserError when the loss is no longer a finite number.
        """
        images, masks = batch
        inputs = normalize(images, self.row, self.accelerator.device)
        targets = as_targets(masks, self.accelerator.device)
        for size_px in sizes:
            self._step(*at_size(inputs, targets, size_px, self.row))

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        with self.accelerator.autocast():
            outputs = self.network(inputs)
        maps = tuple(logits.float() for logits in outputs.maps)
        embedding = None if outputs.embedding is None else outputs.embedding.float()
        loss = self.loss_of(outputs._replace(maps=maps, embedding=embedding), targets)
        self.losses.append(loss.item())
        check_losses(self.settings, len(self.losses) - 1, self.steps, {"loss": self.losses[-1]}, self.advice)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if self.row.gradient_clamp is not None:
            self.accelerator.unscale_gradients(self.optimizer)
            # element by element, as the sources do: a limit on the norm would be another method
            nn.utils.clip_grad_value_(self.network.parameters(), self.row.gradient_clamp)
        self.optimizer.step()
        if self.row.schedule != "plateau":
            self.schedule.step()

    def end_epoch(self) -> None:
        """Look at the validation pairs, and act on what is seen there."""
        self.epochs += 1
        if not self.looked_at:
            return
        score, loss = look(self.network, self.looked_at, self.row, self.loss_of, self.accelerator.device)
        self.scores.append((len(self.losses), score, loss))
        if score > self.best:
            self.best, self.best_epoch = score, self.epochs
            if self.row.keep != "last":
                self.weights = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        patience = self.row.early_stop
        self.stopped = patience is not None and self.epochs - self.best_epoch >= patience
        if self.row.schedule == "plateau":
            self.schedule.step(loss)

    def save(self, path: Path) -> None:
        """Write a state to go on from, beside its place and then renamed."""
        device = self.accelerator.device
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.optimizer.scaler.state_dict() if self.optimizer.scaler else None,
            "schedule": self.schedule.state_dict(),
            "done": {name: getattr(self, name) for name in DONE},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
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
        self.schedule.load_state_dict(state["schedule"])
        vars(self).update(state["done"])
        torch.set_rng_state(state["random"])
        device = self.accelerator.device  # another one than the state is of, perhaps, or of another kind
        if device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], device)

    def curve(self) -> str:
        """Return CSV of step, loss and validation Dice; a loss is the mean over the steps since the row before."""
        lines, end = [], 0
        for losses in np.array_split(self.losses, min(CURVE_ROWS, len(self.losses))):
            start, end = end, end + len(losses)
            scores = [f"{score:.6g}" for step, score, _ in self.scores if start < step <= end]
            lines.append([end, f"{np.mean(losses):.6g}", *(scores[-1:] or [""])])
        return csv_text(["step", "loss", "val_dice"], lines)
