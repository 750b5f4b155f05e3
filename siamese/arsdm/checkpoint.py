"""A trained ArSDM on disk: safetensors beside the resolved configuration, loaded strictly."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from data.pairs.errors import UserError
from data.pairs.files import write_json
from siamese.arsdm.network import SpadeUNet
from siamese.base.devices import seeded
from siamese.config.arsdm import ArsdmRow
from siamese.method.checkpoint import WEIGHTS, read_config


def check_size(row: ArsdmRow, height: int, width: int) -> None:
    """Raise UserError when images of this size, in px, do not fit the network."""
    if height % row.size_multiple or width % row.size_multiple:
        raise UserError(
            f"arsdm: images of {height} x {width} px do not fit {len(row.multipliers)} levels",
            [f"give a size_px that is a multiple of {row.size_multiple}", "or fewer multipliers in the row"],
        )


def build_network(row: ArsdmRow, seed: int = 0) -> SpadeUNet:
    """Return the network with first weights that are a function of `seed`; the global generator is left as it was."""
    return seeded(lambda: SpadeUNet(row), seed)


def save_network(network: SpadeUNet, config: dict, out: Path) -> None:
    """Write generator.safetensors and config.json to `out`."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, out / WEIGHTS)
    write_json(out / "config.json", config)


def load_network(folder: Path) -> tuple[SpadeUNet, ArsdmRow]:
    """Return a trained network, frozen, and its row.

    Raises: UserError when the folder is not complete, or holds another method or another network's weights.
    """
    generator = read_config(folder)["generator"]
    again = "run dvc repro, which trains it, or name the folder of a trained arsdm"
    try:
        row = ArsdmRow.model_validate_json(json.dumps(generator))
        state = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} holds a damaged generator", [str(error), again]) from error
    network = build_network(row)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{folder}: {WEIGHTS} is not of the network in config.json", [str(error), again]) from error
    return network.eval().requires_grad_(False), row
