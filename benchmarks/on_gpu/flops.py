"""Floating-point operations of a step, counted by torch, and what share of a card's peak they come to."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks.training import NUM_STEPS, PAPER, augmented
from benchmarks.on_gpu.cards import peak_of

Counts = tuple[int, int]  # of one sample: not augmented online, augmented


def count(step: Callable[[int, Tensor], None]) -> Counts:
    """Return what one sample costs; the step is of a batch of one pair. A multiply-add counts as two."""
    counts = []
    for timestep in (PAPER.augment_t_max + 1, PAPER.augment_t_max):
        with FlopCounterMode(display=False) as counter:
            step(NUM_STEPS - 1, torch.tensor([timestep]))
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def of_a_step(counts: Counts, side: str, timesteps: Tensor) -> float:
    """Return the mean over steps (steps, B): the official side augments its whole batch if any sample is chosen."""
    plain, more = counts
    steps, batch = timesteps.shape
    extra = [(batch if chosen else 0) if side == "official" else chosen for chosen in augmented(timesteps)]
    return batch * plain + (more - plain) * sum(extra) / steps


def utilisation(flops: float, seconds: float, precision: str, device: torch.device) -> dict[str, Any]:
    """Return the share of the card's peak that a step's own operations come to, or null with the reason."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = peak_of(card, precision, tf32=torch.backends.cudnn.allow_tf32)
    if peak is None:
        return {"mfu": None, "mfu_reason": f"benchmarks/on_gpu/cards.py has no peak of this {card}"}
    return {"mfu": flops / seconds / peak[1], "mfu_of": peak[0], "peak_flops": peak[1]}
