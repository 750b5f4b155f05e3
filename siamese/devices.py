"""Where networks run and in which precision. Both come from accelerate's environment, never from params.yaml."""

import torch
from accelerate import Accelerator

from data.pairs.errors import UserError

PRECISIONS = ("no", "bf16", "fp16")


def accelerator() -> Accelerator:
    """Return accelerate's view of the processes, the device and the precision.

    Raises: UserError for a precision that is not known, or that the device lacks: accelerate itself would compute in
    float32 then and not say so.
    """
    try:
        found = Accelerator()
    except ValueError as error:
        raise UserError("accelerate's environment does not fit this machine", [str(error)]) from error
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
