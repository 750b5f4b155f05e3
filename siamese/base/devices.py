"""The device of this process, how networks and tensors reach it and come back, and errors of too little memory."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional

from data.pairs.errors import UserError, one_line

DEVICE = "ACCELERATE_TORCH_DEVICE"  # what accelerate reads
OTHER_FORMS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
Built = TypeVar("Built")
FAST_HEAD = 16  # floats that a 512-bit register holds, and a head size that PyTorch's attention is fast on
ALIGNMENT = 16  # bytes, a multiple of every element's size


@contextlib.contextmanager
def computing_on(device: str | None) -> Iterator[None]:
    """Let accelerate, which chooses once in a process, choose this device within the block.

    Raises: UserError when there is no such device, or this process has taken another one.
    """
    if device is None:
        yield
        return
    from accelerate.state import PartialState

    try:
        wanted = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device} is not there", [one_line(str(error))]) from error
    taken = PartialState().device if PartialState._shared_state else wanted
    if torch.empty(0, device=taken).device != wanted:  # cuda alone is one of cuda:0, cuda:1, ...
        raise UserError(f"this process computes on {taken} already: start another one for {wanted}")
    before = os.environ.get(DEVICE)
    os.environ[DEVICE] = str(wanted)
    try:
        yield
    finally:
        del os.environ[DEVICE]
        os.environ.update({DEVICE: before} if before else {})


def _room(tensor: Tensor) -> int:
    return math.ceil(tensor.nbytes / ALIGNMENT) * ALIGNMENT


def unpack(buffer: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return views into a buffer of bytes, of the shapes and types of the tensors that `packed` put there."""
    places = buffer.split([_room(tensor) for tensor in like])
    return [place[: t.nbytes].view(t.dtype).view(t.shape) for place, t in zip(places, like, strict=True)]


def packed(tensors: Sequence[Tensor], *, pinned: bool = False) -> Tensor:
    """Return CPU tensors one after the other in one buffer of bytes; `pinned` lets a GPU fetch it by itself."""
    buffer = torch.empty(sum(map(_room, tensors)), dtype=torch.uint8, pin_memory=pinned)
    for view, tensor in zip(unpack(buffer, tensors), tensors, strict=True):
        view.copy_(tensor)
    return buffer


def moved(tensors: Sequence[Tensor], where: torch.device | str) -> list[Tensor]:
    """Return CPU tensors on a device: on a GPU by one copy that the host does not wait for, contiguous in memory.

    Tensors that are there already are returned as they are.
    """
    where = torch.device(where)
    if all(tensor.device.type == where.type for tensor in tensors):
        return list(tensors)
    buffer = packed(tensors, pinned=where.type == "cuda")
    return unpack(buffer.to(where, non_blocking=True), tensors)


def rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a tensor, in its memory format; `rows` (G,) int64 is on its device."""
    selected = tensor.index_select(0, rows)
    plain = tensor.ndim != 4 or tensor.is_contiguous()
    return selected if plain else selected.contiguous(memory_format=torch.channels_last)


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """Return build() with initial weights that depend on the seed alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def norm_groups(channels: tuple[int, ...]) -> int:
    """Return groups of sixteen channels or more: smaller ones would normalise the colour of a patch away."""
    return max(1, math.gcd(*channels) // 16)


def full_precision(where: torch.device) -> contextlib.AbstractContextManager:
    """Return a block in which nothing is cast to half precision."""
    cast = torch.amp.is_autocast_available(where.type)
    return torch.autocast(where.type, enabled=False) if cast else contextlib.nullcontext()


def head_size(attn: Attention) -> int:
    """Return the channels of one head of queries, keys and values."""
    return attn.to_q.out_features // attn.heads


def _heads(layer: nn.Linear, tokens: Tensor, count: int) -> Tensor:
    """Return the projection of tokens (B, N, width) as (B, count, N, FAST_HEAD), the channels that were added zero."""
    weight = layer.weight.unflatten(0, (count, -1))
    weight = functional.pad(weight, (0, 0, 0, FAST_HEAD - weight.shape[1])).flatten(0, 1)
    return functional.linear(tokens, weight).unflatten(-1, (count, FAST_HEAD)).transpose(1, 2)


class NarrowHeads:
    """An attention processor for diffusers: heads of less than 16 channels are filled up with zeros.

    Zero channels change neither a product of queries and keys nor the values that are kept; they are made by zero rows
    and columns of the projections, so that nothing is copied. docs/benchmarks.md has what it gains.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the attention's output (B, tokens, width) for hidden states of that shape; no masks."""
        if attention_mask is not None:
            raise NotImplementedError("the prompts of this project are never masked")
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = _heads(attn.to_q, hidden_states, attn.heads)
        key, value = (_heads(layer, source, attn.heads) for layer in (attn.to_k, attn.to_v))
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=head_size(attn) ** -0.5)
        output = attn.to_out[0]
        weight = output.weight.unflatten(1, (attn.heads, -1))
        weight = functional.pad(weight, (0, FAST_HEAD - weight.shape[2])).flatten(1)
        return functional.linear(mixed.transpose(1, 2).flatten(2), weight, output.bias)


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to its device, in the memory layout that is fast there."""
    network.to(device, memory_format=torch.channels_last)
    for module in network.modules() if device.type == "cpu" else ():
        if isinstance(module, Attention) and head_size(module) < FAST_HEAD:
            module.set_processor(NarrowHeads())


class LateReader:
    """Reads loss terms one step late, so that the host never waits for the step that the device has just been given."""

    def __init__(self, read: Callable[[int, list[float]], None]) -> None:
        self._read, self._step, self._terms = read, 0, None
        self._there: torch.cuda.Event | None = None

    def put(self, step: int, terms: Tensor) -> None:
        """Read the terms of the step before, and start to fetch these."""
        self.flush()
        self._step, self._terms = step, terms
        if terms.device.type == "cuda":
            self._terms = torch.empty(terms.shape, dtype=terms.dtype, pin_memory=True).copy_(terms, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def flush(self) -> None:
        """Read what has not been read yet."""
        terms, self._terms = self._terms, None
        if terms is None:
            return
        if self._there:
            self._there.synchronize()
        self._read(self._step, terms.tolist())


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that memory did not suffice: what accelerate knows, and the libraries' own words."""
    known = isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
    return known or any(form in str(error) for form in OTHER_FORMS)
