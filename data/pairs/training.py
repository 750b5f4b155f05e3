"""What every training here shares: where it runs, in which precision, and the check that its numbers are still numbers.

Device and precision come from accelerate's environment, never from params.yaml.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from data.pairs.errors import UserError

PRECISIONS = ("no", "bf16", "fp16")
PATIENCE = timedelta(days=7)  # how long processes wait for each other: a slower GPU's share, or one that was resumed
NO_GPU = ("", "-1", "NoDevFiles")  # first names in CUDA_VISIBLE_DEVICES that mean none; the last is Slurm's
YES = ("1", "true", "yes")
LARGEST = 1e6  # every loss here begins below 100


def check_gpus() -> None:
    """Raise UserError when the environment asks for GPUs that PyTorch does not see, or cannot use."""
    import torch

    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in YES:
        return
    # device_count alone counts GPUs, too, whose driver is too old for this PyTorch
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here, named = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not gpus and named.split(",")[0].strip() not in NO_GPU:
        raise UserError(
            f"CUDA_VISIBLE_DEVICES is {named} in the environment, but PyTorch sees no GPU",
            [
                f"look whether nvidia-smi lists that GPU, and whether its driver is new enough for CUDA "
                f"{torch.version.cuda or '(this PyTorch was built without it)'}",
                'to compute on the CPU, set CUDA_VISIBLE_DEVICES="" or ACCELERATE_USE_CPU=true',
            ],
        )
    if 0 < gpus < here:
        raise UserError(f"{here} processes were started for {gpus} GPUs: start at most one for each")


def check_precision(precision: str, device: str) -> None:
    """Raise UserError for a precision that is not known or that the device does not compute in."""
    import torch

    lacks = precision == "fp16" and device == "cpu"
    lacks |= precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if lacks or precision not in PRECISIONS:
        what = torch.cuda.get_device_name() if device == "cuda" else device
        raise UserError(
            f"ACCELERATE_MIXED_PRECISION is {precision} in the environment, which {what} cannot do here",
            [f"allowed: {', '.join(PRECISIONS)}; fp16 needs a GPU, bf16 the CPU or a GPU of 2020 or later (Ampere)"],
        )


def accelerator() -> Any:
    """Return accelerate's view of the processes, the device and the precision.

    Raises: UserError for a precision that is not known or that the device lacks (accelerate itself would compute in
    float32 then, or slowly imitate bf16, and not say so), for more processes than there are GPUs, and when
    CUDA_VISIBLE_DEVICES names a GPU and none is there.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    check_gpus()
    try:
        found = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
    except ValueError as error:
        raise UserError("accelerate's environment does not fit this machine", [str(error)]) from error
    if found.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise UserError(
            f"{os.environ['WORLD_SIZE']} processes were started, but accelerate sees {found.num_processes}",
            ["without a GPU set ACCELERATE_USE_CPU=true in the environment, or start them by SIAMESE_PROCESSES"],
        )
    check_precision(found.mixed_precision, found.device.type)
    return found


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
