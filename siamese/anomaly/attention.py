"""Cross-attention whose columns of the learned words weigh more where little has changed so far."""

from collections.abc import Mapping

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional


class WeightedColumns:
    """An attention processor for diffusers: some columns of the scores are multiplied by a weight of the query's place.

    `weights` (B, 1, h, w) are resized to the layer; `columns` (77,) bool are those of the words. Before the softmax
    (`logits`) or behind it (`probabilities`). Without weights it is plain attention.
    """

    def __init__(self, columns: Tensor, at: str) -> None:
        self.columns, self.at, self.weights = columns, at, None

    def _factors(self, queries: int) -> Tensor:
        """Return (B, 1, queries, 77), float32."""
        assert self.weights is not None
        height, width = self.weights.shape[2:]
        shrink = round((height * width / queries) ** 0.5)
        size = (-(-height // shrink), -(-width // shrink))
        weights = functional.interpolate(self.weights.float(), size=size, mode="bilinear").flatten(2)[..., None]
        return torch.where(self.columns, weights, torch.ones_like(weights))

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the attention's output (B, tokens, width) for hidden states of that shape; no masks."""
        if attention_mask is not None or encoder_hidden_states is None:
            raise NotImplementedError("cross-attention with the prompt alone, which is never masked")
        query, key, value = (
            layer(source).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, source in (
                (attn.to_q, hidden_states), (attn.to_k, encoder_hidden_states), (attn.to_v, encoder_hidden_states)
            )
        )  # fmt: skip
        scores = (query @ key.transpose(2, 3)).float() * attn.scale
        factors = None if self.weights is None else self._factors(hidden_states.shape[1])
        if factors is not None and self.at == "logits":
            scores = scores * factors
        shares = scores.softmax(-1)
        if factors is not None and self.at == "probabilities":
            shares = shares * factors
        mixed = (shares.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return attn.to_out[0](mixed)


def weigh_columns(unet: UNet2DConditionModel, columns: Tensor, at: str) -> WeightedColumns:
    """Give every cross-attention of a UNet one processor, and return it; self-attention keeps what it has."""
    processor = WeightedColumns(columns, at)
    processors: Mapping = unet.attn_processors
    unet.set_attn_processor({k: processor if "attn2" in k else v for k, v in processors.items()})
    return processor
