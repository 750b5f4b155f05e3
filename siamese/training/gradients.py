"""The gradients of one optimiser step, over micro-batches that fit the memory and over processes."""

from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _take_tensors, _unflatten_dense_tensors

from data.pairs.errors import UserError
from siamese.base.devices import is_out_of_memory
from siamese.config.sections import TrainingConfig

BUCKET_BYTES = 64 * 2**20


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


def sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, up to BUCKET_BYTES of one type in one message.

    Every process has tensors of the same shapes, in the same order.
    With two processes a + b is that of one message a tensor, to the bit; with more the order of additions is the
    library's, as ever.
    """
    for bucket in _take_tensors(tensors, BUCKET_BYTES):
        flat = _flatten_dense_tensors(bucket)
        torch.distributed.all_reduce(flat)
        torch._foreach_copy_(bucket, _unflatten_dense_tensors(flat, bucket))


def _agree(failed: bool, parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> tuple[bool, list[bool]]:
    """Return whether any process failed, and for each parameter whether any process has a gradient."""
    flags = [failed, *(parameter.grad is not None for parameter in parameters)]
    if accelerator.num_processes > 1:  # one process knows it without asking its device
        flags = accelerator.reduce(torch.tensor(flags, device=accelerator.device).float(), "sum").bool().tolist()
    return flags[0], flags[1:]


def accumulate(
    compute: Callable[[int], Tensor],
    micro: int,
    parameters: Sequence[nn.Parameter],
    accelerator: Accelerator,
    cfg: TrainingConfig,
) -> tuple[Tensor, int]:
    """Fill .grad with the sum over all processes; return the sums of what `compute` returns and the micro-batch used.

    `compute` adds the gradients of this process's pairs, up to so many at a time, and returns sums of the loss terms.
    When memory does not suffice on any process, all of them start the step again with half the micro-batch: the batch
    of the step stays what it was. A parameter without a gradient on all processes keeps none.

    Raises: UserError when not even one pair at a time fits.
    """
    while True:
        for parameter in parameters:
            parameter.grad = None
        sums = None
        try:
            sums = compute(micro)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        failed, touched = _agree(sums is None, parameters, accelerator)
        if sums is not None and not failed:
            break
        if micro == 1:
            place = f"with one pair at a time on {accelerator.device}"
            raise out_of_memory(cfg, place, accelerator.mixed_precision)
        sums = None
        clear_device_cache(garbage_collection=True)
        micro = (micro + 1) // 2
    if accelerator.num_processes > 1:
        trained = [parameter for parameter, has in zip(parameters, touched, strict=True) if has]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        sum_over_processes([parameter.grad for parameter in trained])
    return accelerator.reduce(sums, "sum"), micro
