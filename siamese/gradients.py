"""The gradients of one optimiser step, over micro-batches that fit the memory and over processes."""

from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn

from data.pairs.errors import UserError
from siamese.config import TrainingConfig
from siamese.devices import is_out_of_memory


def out_of_memory(cfg: TrainingConfig, place: str, precision: str) -> UserError:
    """Return the error for a run that does not fit, with the settings that help and are not yet taken."""
    advice = {
        "training.gradient_checkpointing: true": cfg.gradient_checkpointing,
        "training.optimizer: adamw_8bit": cfg.optimizer == "adamw_8bit",
        "training.ema: null": cfg.ema is None,
        "ACCELERATE_MIXED_PRECISION=bf16 in the environment (on a GPU)": precision != "no",
        "a smaller size_px of the data set, or a smaller base model": False,
    }
    return UserError(
        f"out of memory {place}; what helps, in this order", [k for k, taken in advice.items() if not taken]
    )


def accumulate(
    compute: Callable[[slice], Tensor],
    count: int,
    micro: int,
    parameters: Sequence[nn.Parameter],
    accelerator: Accelerator,
    cfg: TrainingConfig,
) -> tuple[Tensor, int]:
    """Fill .grad with the sum over all processes; return the sums of what `compute` returns and the micro-batch used.

    `compute` adds the gradients of a slice of this process's `count` pairs and returns sums of the loss terms. When
    memory does not suffice on any process, all of them start the step again with half the micro-batch: the batch of
    the step stays what it was.

    Raises: UserError when not even one pair at a time fits.
    """
    while True:
        for parameter in parameters:
            parameter.grad = None
        parts, failed = [], 0.0
        try:
            for start in range(0, count, micro):
                parts.append(compute(slice(start, min(start + micro, count))))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failed = 1.0
        if not accelerator.reduce(torch.tensor(failed, device=accelerator.device), "sum"):
            break
        if micro == 1:
            place = f"with one pair at a time on {accelerator.device}"
            raise out_of_memory(cfg, place, accelerator.mixed_precision)
        parts.clear()
        clear_device_cache(garbage_collection=True)
        micro = (micro + 1) // 2
    if accelerator.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = accelerator.reduce(parameter.grad, "sum")
    return accelerator.reduce(torch.stack(parts).sum(0), "sum"), micro
