"""A trained DFMGAN on disk: safetensors beside the resolved configuration, loaded strictly."""

import json
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save_file

from data.pairs.files import write_json
from siamese.base.checkpoint_files import flat_state, load_flat_state
from siamese.base.devices import seeded
from siamese.config.dfmgan import DfmganRow
from siamese.dfmgan.generator import Defect, Normal
from siamese.method.checkpoint import WEIGHTS, read_config, reading


class Trained(NamedTuple):
    """A trained generator."""

    normal: Normal
    defect: Defect
    row: DfmganRow
    side: int  # px of the networks' images
    size_px: int  # of the pairs


def save_generator(normal: Normal, defect: Defect, config: dict, out: Path) -> None:
    """Write generator.safetensors and config.json, which holds `side` and `size_px`, to `out`."""
    save_file(flat_state({"normal": normal, "defect": defect}), out / WEIGHTS)
    write_json(out / "config.json", config)


def load_generator(folder: Path) -> Trained:
    """Return a trained generator, frozen.

    Raises: UserError when the folder is not complete, or holds another method or another network's weights.
    """
    config = read_config(folder)
    with reading(folder):
        row = DfmganRow.model_validate_json(json.dumps(config["generator"]))
        side, size_px = int(config["side"]), int(config["size_px"])
        state = load_file(folder / WEIGHTS)
    normal, defect = seeded(lambda: (Normal(row, side), Defect(row, side)), 0)
    load_flat_state({"normal": normal, "defect": defect}, state)
    for network in (normal, defect):
        network.eval().requires_grad_(False)
    return Trained(normal, defect, row, side, size_px)
