"""The switches that PyTorch has for speed, each as a block in which it is set the other way than shipped."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch

from benchmarks.networks.sd15 import Networks
from siamese.training.train import COMPILED_VARIANTS, compile_blocks


@contextlib.contextmanager
def _contiguous(nets: Networks) -> Iterator[None]:
    """Lay the networks out without channels_last; the hints stay as they are."""
    for network in (nets.unet, nets.controlnet, nets.vae):
        network.to(memory_format=torch.contiguous_format)
    try:
        yield
    finally:
        for network in (nets.unet, nets.controlnet, nets.vae):
            network.to(memory_format=torch.channels_last)


@contextlib.contextmanager
def _tf32_products(nets: Networks) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def strict_float32(nets: Networks | None = None) -> Iterator[None]:
    """Compute float32 without TF32, which PyTorch uses in convolutions unless told otherwise."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def _cudnn_benchmark(nets: Networks) -> Iterator[None]:
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def _expandable_segments(nets: Networks) -> Iterator[None]:
    """Let the allocator grow its segments, as PYTORCH_ALLOC_CONF=expandable_segments:True does for a whole process."""
    torch.cuda.memory._set_allocator_settings("expandable_segments:True")
    try:
        yield
    finally:
        torch.cuda.memory._set_allocator_settings("expandable_segments:False")


# name -> the block, the precisions that it can matter in
SWITCHES: dict[str, tuple[Callable[[Networks], AbstractContextManager], tuple[str, ...]]] = {
    "TF32 in matrix products too": (_tf32_products, ("fp32",)),
    "TF32 nowhere": (strict_float32, ("fp32",)),
    "channels_last off": (_contiguous, ("bf16", "fp32")),
    "cudnn.benchmark": (_cudnn_benchmark, ("bf16", "fp32")),
    "expandable_segments": (_expandable_segments, ("bf16", "fp32")),
}
ON_A_CPU = ("channels_last off",)  # the others set what only a GPU has


def compile_networks(nets: Networks, device: torch.device) -> str:
    """Compile the blocks that training.compile compiles, which cannot be taken back, and return what was done.

    On a CPU, where the compiler would take minutes, the middle blocks are traced and no more.
    """
    torch._dynamo.config.recompile_limit = COMPILED_VARIANTS
    for network in (nets.unet, nets.controlnet):
        if device.type == "cpu":
            network.mid_block.compile(dynamic=True, backend="eager")
        else:
            compile_blocks(network)
    return "middle blocks traced" if device.type == "cpu" else "all blocks"
