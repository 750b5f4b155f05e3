"""The networks of a part on its device, and its rounds of training steps."""

from collections.abc import Callable

import torch

from benchmarks.networks.sd15 import build
from benchmarks.networks.training import number_of, place_networks, trained_parameters
from benchmarks.on_gpu.part import Part, free


class PartNetworks:
    """Stable Diffusion 1.5's networks at the part's scale; `named` are the trained weights."""

    def __init__(self, part: Part) -> None:
        self.part, self.device, self.scale = part, part.device, part.scale
        self.nets = build(part.scale.width, device=part.device)
        place_networks(self.nets, part.device, narrow_heads=False)
        self.named = trained_parameters(self.nets)

    def drop_gradients(self) -> None:
        """Drop the gradients."""
        for parameter in self.named.values():
            parameter.grad = None

    def clear(self) -> None:
        """Drop the gradients and what else is not needed."""
        self.drop_gradients()
        free()

    def round_of(self, take: Callable[[int, torch.Tensor], None], timesteps: torch.Tensor) -> Callable[[], None]:
        """Return a call that takes a step at each of the timesteps (steps, B), spread evenly over the run."""

        def one_round() -> None:
            for index, times in enumerate(timesteps):
                take(number_of(index, len(timesteps)), times)

        return one_round
