"""The text side of a base model: CLIP's tokenizer, and a small tokenizer and encoder for models trained here."""

import gzip
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from siamese.base.devices import seeded

MERGES = 48_894


def tokenizer_of(merges: Sequence[tuple[str, ...]]) -> CLIPTokenizer:
    """Return a byte-level tokenizer in CLIP's form, of 514 tokens and one for each merge."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({word: number for number, word in enumerate(words)}, list(merges), model_max_length=77)


def clip_tokenizer() -> CLIPTokenizer:
    """Return CLIP's tokenizer, 49,408 tokens, from the list of merges that the package open_clip_torch brings along."""
    path = importlib.metadata.distribution("open_clip_torch").locate_file("open_clip/bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(Path(str(path)).read_bytes()).decode().splitlines()[1 : MERGES + 1]
    return tokenizer_of([tuple(line.split()) for line in lines])


def special_tokens(tokenizer: CLIPTokenizer) -> dict[str, int]:
    """Return the settings of a text encoder that name the tokenizer's special tokens."""
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}


def write_small_text_encoder(context_dim: int, seed: int, out_dir: Path) -> None:
    """Write a tokenizer of bytes and an encoder with random weights, which is enough for one prompt."""
    tokenizer = tokenizer_of([])
    tokenizer.save_pretrained(out_dir / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=context_dim,
        intermediate_size=2 * context_dim,
        num_hidden_layers=2,
        num_attention_heads=context_dim // 8,
        max_position_embeddings=77,
        **special_tokens(tokenizer),
    )
    seeded(lambda: CLIPTextModel(config), seed).save_pretrained(out_dir / "text_encoder")
