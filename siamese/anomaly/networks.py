"""What is learned, what it is learned on, and both as a folder: safetensors beside the resolved configuration."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.pairs.files import write_json
from siamese.anomaly.spatial import build_spatial
from siamese.anomaly.words import Prompts, Words
from siamese.base.checkpoint_files import flat_state, load_flat_state
from siamese.base.devices import seeded
from siamese.base.load import load_text, load_unet
from siamese.config.anomaly import AnomalyRow
from siamese.method.checkpoint import WEIGHTS, check_base, read_config, reading


class Learned(NamedTuple):
    """The words and the network that makes words of a mask."""

    words: Words
    spatial: nn.Module

    def parts(self) -> dict[str, nn.Module]:
        """Return them by the names that they have in a checkpoint."""
        return {"words": self.words, "spatial": self.spatial}


class Networks(NamedTuple):
    """What is learned, the frozen text side and the frozen UNet."""

    learned: Learned
    prompts: Prompts
    unet: UNet2DConditionModel


def vectors_of(learned: Learned, names: Tensor, encoder_masks: Tensor) -> Tensor:
    """Return the vectors (B, places, D) of lesions by the number of their names (B,) and masks (B, 1, S, S)."""
    return torch.cat([learned.words(names), learned.spatial(encoder_masks).float()], dim=1)


def build(row: AnomalyRow, base_dir: Path, names: int, seed: int = 0) -> Networks:
    """Return the networks as they are before training; first weights are a function of `seed`.

    Raises: UserError when a template is too long, or the base model lacks a part.
    """
    tokenizer, encoder = load_text(base_dir)
    prompts = Prompts(tokenizer, encoder, row.templates, row.places, row.inject)
    words = Words(names, row.words, prompts.start(row.init_word))
    spatial = seeded(lambda: build_spatial(row, words.vectors.shape[-1]), seed)
    return Networks(Learned(words, spatial), prompts, load_unet(base_dir))


def save(learned: Learned, config: dict, out: Path) -> None:
    """Write generator.safetensors and config.json to `out`."""
    save_file(flat_state(learned.parts()), out / WEIGHTS, metadata={"generator": config["generator"]["method"]})
    write_json(out / "config.json", config)


def load(folder: Path, base_dir: Path) -> tuple[Networks, AnomalyRow, list[float]]:
    """Return trained networks, frozen, their row, and the values of masks that the names stand for.

    Raises: UserError when the folder is not complete, holds another method, or was trained on another base model.
    """
    config = read_config(folder)
    with reading(folder):
        row = AnomalyRow.model_validate_json(json.dumps(config["generator"]))
        state, lesions = load_file(folder / WEIGHTS), list(config["lesions"])
    check_base(folder, config, base_dir)
    networks = build(row, base_dir, len(lesions))
    load_flat_state(networks.learned.parts(), state)
    for network in (*networks.learned, networks.prompts, networks.unet):
        network.eval().requires_grad_(False)
    return networks, row, lesions
