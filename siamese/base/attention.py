"""Attention on the CPU for narrow networks: the same numbers, at a head size that PyTorch's kernel is fast on."""

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional

FAST_HEAD = 16  # floats that a 512-bit register holds


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
