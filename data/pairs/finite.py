"""The one check of every training here that its losses and its weights are still numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data.pairs.errors import UserError

LARGEST = 1e6  # every loss here begins below 100


def check_losses(training: str, step: int, steps: int, losses: Mapping[str, float], advice: Sequence[str]) -> None:
    """Raise UserError when a loss term is not finite or beyond all measure, with the training, the step and the term.

    `step` counts from 0; `advice` is what helps, with the name of the setting.
    """
    broken = {name: value for name, value in losses.items() if not abs(value) < LARGEST}
    if not broken:
        return
    what = "has diverged" if all(map(math.isfinite, broken.values())) else "is not finite"
    where = f"at step {step} of {steps}"
    if len(losses) == 1:
        raise UserError(f"{training}: the loss {what} {where}: {next(iter(broken.values())):g}", advice)
    raise UserError(
        f"{training}: the loss {what} {where}; {', or '.join(advice)}", [f"{name}: {x:g}" for name, x in broken.items()]
    )


def check_weights(training: str, steps: int, weights: Iterable[Any], advice: Sequence[str]) -> None:
    """Raise UserError when the weights (tensors) are not finite after the last step, whose own loss may still be."""
    broken = sum(not bool(tensor.isfinite().all()) for tensor in weights)
    if broken:
        raise UserError(f"{training}: {broken} weights are not finite after step {steps - 1} of {steps}", advice)
