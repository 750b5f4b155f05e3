"""What DFMGAN's training changes: networks with an optimiser each, averaged weights, and the numbers beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.base.training_state import load_step, write_step

BETA2, EPS = 0.99, 1e-8
LARGEST = 1e5  # what takes the place of an infinite gradient
EMA_RAMP = 0.05  # share of the images seen so far that the averaged weights remember, at most


def adam(network: nn.Module, lr: float, every: int | None) -> torch.optim.Optimizer:
    """Return Adam for a network that is regularised `every` so many steps, by a step more of the same optimiser.

    Rate and decays shrink, so that all its steps together change as much as one for each batch.
    """
    share = every / (every + 1) if every else 1.0
    return torch.optim.Adam(network.parameters(), lr=lr * share, betas=(0.0, BETA2**share), eps=EPS)


def mend_gradients(network: nn.Module) -> Tensor:
    """Replace what is not a number by 0 and the infinite by +-1e5; return 1 where there was any, else 0: ()."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    if not gradients:
        return torch.zeros((), device=next(network.parameters()).device)
    finite = torch.stack([gradient.isfinite().all() for gradient in gradients]).all()
    for gradient in gradients:
        torch.nan_to_num(gradient, nan=0.0, posinf=LARGEST, neginf=-LARGEST, out=gradient)
    return (~finite).float()


@torch.no_grad()
def average_towards(average: nn.Module, network: nn.Module, seen: int, batch: int, half: float, *, ramp: bool) -> None:
    """Move averaged weights so that `half` images later half of what they were is left.

    `seen` are the images before this batch; with `ramp` they remember 0.05 of these at most.
    """
    half = min(half, seen * EMA_RAMP) if ramp else half
    keep = 0.5 ** (batch / max(half, 1e-8))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)


class GanState:
    """Networks, optimisers, averaged weights, numbers and log of one stage.

    `ada_p` is known on the host; `signs` (sum and count of the scores' signs on real images since the last change of
    `ada_p`) and `usual_path` are on the device.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], every: Mapping[str, int | None], average: nn.Module, lr: float
    ) -> None:
        self.networks, self.average = dict(networks), average
        self.optimizers = {name: adam(network, lr, every[name]) for name, network in self.networks.items()}
        where = next(average.parameters()).device
        self.ada_p, self.signs, self.usual_path = 0.0, torch.zeros(2, device=where), torch.zeros((), device=where)
        self.rows: list[list[float]] = []

    def train_only(self, name: str | None) -> None:
        """Let gradients reach one network alone, or none."""
        for other, network in self.networks.items():
            network.requires_grad_(other == name)

    def _saved(self) -> dict[str, nn.Module]:
        return {**self.networks, "average": self.average}

    def save(self, work: Path, step: int) -> None:
        """Write a checkpoint to resume from."""
        states: dict[str, Any] = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        numbers = {"ada_p": self.ada_p, "signs": self.signs.cpu(), "usual_path": self.usual_path.cpu()}
        write_step(work, step, self._saved(), {"optimizers": states, **numbers, "rows": self.rows})

    def resume(self, work: Path) -> int:
        """Load the last whole checkpoint, if there is one, and return the step to go on from."""
        step, states = load_step(work, self._saved())
        if step:
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(states["optimizers"][name])
            self.ada_p, self.rows = states["ada_p"], states["rows"]
            self.signs, self.usual_path = (states[name].to(self.signs.device) for name in ("signs", "usual_path"))
        return step
