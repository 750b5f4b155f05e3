"""Learned vectors in place of one word of a prompt, in front of the text encoder or behind it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data.pairs.errors import UserError
from siamese.config.anomaly import WORD


class Words(nn.Module):
    """The learned vectors of each kind of lesion, (names, words, D); all start as the same vector (D,)."""

    def __init__(self, names: int, words: int, start: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(start.detach().float().expand(names, words, -1).clone())

    def forward(self, names: Tensor) -> Tensor:
        """Return (B, words, D) for the numbers of the names, (B,)."""
        return self.vectors[names]


class Prompts(nn.Module):
    """Sentences with places for vectors, and the frozen text encoder that reads them.

    `inject` as in the row. Nothing here is trained or saved.

    Raises: UserError when a sentence is too long for the vectors.
    """

    ids: Tensor  # (T, 77)
    taken: Tensor  # (T, 77) bool: the columns of the vectors

    def __init__(self, tokenizer: Any, encoder: nn.Module, templates: Sequence[str], places: int, inject: str) -> None:
        super().__init__()
        self.encoder, self.tokenizer, self.inject = encoder, tokenizer, inject
        self.star = self._tokens(WORD)[0]
        rows = [self._with_places(template, places) for template in templates]
        self.register_buffer("ids", torch.tensor(rows))
        self.register_buffer("taken", self.ids == self.star)
        with torch.no_grad():
            self.register_buffer("plain", self.encode_ids(self.ids))

    def _tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, without those of its start and its end."""
        return self.tokenizer(text).input_ids[1:-1]

    def _with_places(self, template: str, places: int) -> list[int]:
        ids = self.tokenizer(template, padding="max_length", truncation=True).input_ids
        length = len(ids)
        start = ids.index(self.star) if self.star in ids else length
        moved = [*ids[:start], *[self.star] * places, *ids[start + 1 :]][:length]
        if self.tokenizer.eos_token_id not in moved:
            raise UserError(
                f"the template '{template}' is too long: with {places} vectors it does not fit {length} tokens",
                ["shorten it, or learn fewer words"],
            )
        return moved

    def encode_ids(self, ids: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Return what the text encoder makes of tokens (B, 77): (B, 77, D).

        Vectors (B, places, D) replace the embeddings of the word's tokens, in their order. Gradients reach them.
        """
        if vectors is None:
            return self.encoder(ids)[0]

        def put(_layer: nn.Module, _inputs: Any, embeddings: Tensor) -> Tensor:
            return embeddings.masked_scatter((ids == self.star)[..., None], vectors.to(embeddings.dtype))

        hook = self.encoder.get_input_embeddings().register_forward_hook(put)
        try:
            return self.encoder(ids)[0]
        finally:
            hook.remove()

    def forward(self, templates: Tensor, vectors: Tensor) -> Tensor:
        """Return the context (B, 77, D) of templates by number (B,), with vectors (B, places, D) in their places."""
        if self.inject == "embedding":
            return self.encode_ids(self.ids[templates], vectors)
        return self.plain[templates].masked_scatter(self.taken[templates][..., None], vectors.to(self.plain.dtype))

    @torch.no_grad()
    def start(self, word: str) -> Tensor:
        """Return the vector (D,) of a word where the learned ones go in: the mean of its tokens' embeddings."""
        embeddings = self.encoder.get_input_embeddings().weight[self._tokens(word)].mean(0)
        if self.inject == "embedding":
            return embeddings
        vectors = embeddings.expand(1, int(self.taken[0].sum()), -1)
        return self.encode_ids(self.ids[:1], vectors)[self.taken[:1]].mean(0)

    @torch.no_grad()
    def ordinary_norm(self) -> Tensor:
        """Return the mean length of what ordinary tokens have where the learned vectors go in."""
        if self.inject == "embedding":
            return self.encoder.get_input_embeddings().weight.norm(dim=-1).mean()
        return self.plain[~self.taken].norm(dim=-1).mean()
