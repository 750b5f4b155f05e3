"""Time that waits for the device, precision and peak memory: what the benchmarks of networks measure with."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, from an idle device to an idle device."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    start = now()
    call()
    return now() - start


def take_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, budget_s: float = float("inf")
) -> dict[str, list[float]]:
    """Return the seconds of every call in each round; after the first round there are more only within the budget."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(seconds_of(call, device))
        spent = sum(sum(values) for values in seconds.values())
        if spent + spent / len(seconds[next(iter(calls))]) > budget_s:
            break
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most of some rounds, and how many there were."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": len(values)}


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context of a precision, fp32 or bf16: weights stay in float32 in both."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def reset_peak(device: torch.device) -> None:
    """Begin to count peak memory anew: the allocator's on a GPU, the process's resident one on the CPU (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Return the most memory since `reset_peak`; on the CPU with all that the process holds, imports included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
