"""The facts of this machine as JSON: card, driver, versions, and how float32 is computed unless told otherwise."""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "bitsandbytes")


def _driver() -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.split("\n")[0] if found.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def facts() -> dict:
    """Return name -> value; null for what this machine does not have. `peak_flops` is of the card's data sheet."""
    import torch

    from benchmarks.on_gpu.cards import PEAKS

    there = torch.cuda.is_available()
    card = torch.cuda.get_device_name(0) if there else None
    peak = PEAKS.get(card) if card else None
    unknown = f"benchmarks/on_gpu/cards.py has no {card}" if card else "no GPU"
    return {
        "device": "cuda" if there else "cpu",
        "card": card,
        "cards": torch.cuda.device_count(),
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if there else None,
        "driver": _driver(),
        "cuda": torch.version.cuda if there else None,
        "cudnn": torch.backends.cudnn.version() if there else None,
        "peak_flops": peak._asdict() if peak else None,
        "peak_flops_reason": None if peak else unknown,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "versions": {package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()) + "\n")
