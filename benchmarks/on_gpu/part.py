"""What every part has: its options, its scale, the time that it has left, and the rows that it reports."""

import argparse
import gc
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from siamese.base.devices import is_out_of_memory

T = TypeVar("T")


class Scale(NamedTuple):
    """How large everything is: as in the paper on a GPU, toy networks on a CPU."""

    width: str  # of benchmarks/networks/sd15.py
    size_px: int
    other_sizes_px: tuple[int, ...]  # of the memory table
    first_batch: int  # a middling one, measured before the others
    batches: tuple[int, ...]
    sampling_batches: tuple[int, ...]
    sampling_steps: int
    memory_batches: tuple[int, ...]
    steps: int  # of training in a round
    rounds: int
    more_precisions: tuple[str, ...]  # of what is not measured first


PRECISIONS = ("fp32", "bf16")
SCALES = {
    "cuda": Scale(
        "full", 384, (512, 256), 8, (1, 2, 4, 16, 32, 64, 128), (8, 1, 32), 20, (1, 2, 4, 8, 16, 32), 3, 3, PRECISIONS
    ),
    "cpu": Scale("tiny", 64, (), 2, (1,), (2, 1), 2, (1,), 2, 1, ("fp32",)),
}


class Part:
    """One part in its own process."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device, self.scale = args, torch.device(args.device), SCALES[args.device]
        self.deadline = time.monotonic() + args.seconds

    def left(self) -> float:
        """Return the seconds that are left to this part."""
        return self.deadline - time.monotonic()

    def too_late(self, needed_s: float) -> str | None:
        """Return why what needs so many seconds is left out, or None when they are left."""
        left = self.left()
        return f"{left:.0f} s were left, and about {needed_s:.0f} s are needed" if needed_s > left else None

    def add(self, **row: Any) -> None:
        """Report a row at once; a number that is not finite becomes null with a reason."""
        broken = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        if broken:
            row |= {**dict.fromkeys(broken), "reason": f"not finite: {', '.join(broken)}"}
        with self.args.rows.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")


def begin(text: str | None, *options: str) -> Part:
    """Return the part of this process; `options` are switches of its own."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--device", choices=tuple(SCALES), required=True)
    parser.add_argument("--seconds", type=float, required=True, help="after which it is stopped from outside")
    parser.add_argument("--rows", type=Path, required=True, help="file of JSON lines to append to")
    for option in options:
        parser.add_argument(option, action="store_true")
    return Part(parser.parse_args())


def attempt(call: Callable[[], T]) -> tuple[T, None] | tuple[None, str]:
    """Return (value, None), or (None, the reason) where memory did not suffice, which is free again then."""
    try:
        return call(), None
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = f"out of memory: {str(error).splitlines()[0]}"
    free()
    return None, reason


def free() -> None:
    """Give back what no tensor uses any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
