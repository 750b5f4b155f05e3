"""Where networks run and in which precision. Both come from accelerate's environment, never from params.yaml."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size

from data.pairs.errors import UserError

PRECISIONS = ("no", "bf16", "fp16")
OTHER_FORMS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def accelerator() -> Accelerator:
    """Return accelerate's view of the processes, the device and the precision.

    Raises: UserError for a precision that is not known, or that the device lacks (accelerate itself would compute in
    float32 then and not say so), and for more processes than there are GPUs.
    """
    gpus, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if 0 < gpus < here and os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("1", "true", "yes"):
        raise UserError(f"{here} processes were started for {gpus} GPUs: start at most one for each")
    try:
        found = Accelerator()
    except ValueError as error:
        raise UserError("accelerate's environment does not fit this machine", [str(error)]) from error
    if found.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise UserError(
            f"{os.environ['WORLD_SIZE']} processes were started, but accelerate sees {found.num_processes}",
            ["without a GPU set ACCELERATE_USE_CPU=true in the environment, or start them by SIAMESE_PROCESSES"],
        )
    precision = found.mixed_precision
    if precision not in PRECISIONS or (precision == "fp16" and found.device.type == "cpu"):
        raise UserError(
            f"ACCELERATE_MIXED_PRECISION is {precision} in the environment, which {found.device.type} cannot do here",
            [f"allowed: {', '.join(PRECISIONS)}; fp16 needs a GPU"],
        )
    return found


def device() -> torch.device:
    """Return the device of this process: its GPU where there is one."""
    return accelerator().device


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that memory did not suffice: what accelerate knows, and the libraries' own words."""
    known = isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
    return known or any(form in str(error) for form in OTHER_FORMS)
