"""Trained generators on latents on disk: safetensors beside the resolved configuration, loaded strictly."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import write_json
from siamese.base.load import base_info, load_unet, reduction
from siamese.config.sections import Generator
from siamese.method.networks import Networks
from siamese.method.registry import METHODS

WEIGHTS = "generator.safetensors"


class Trained(NamedTuple):
    """The networks of one generator and the embeddings (2, 77, D) of its prompt and of the empty one."""

    networks: Networks
    context: Tensor
    config: dict  # what config.json says
    row: Any  # of params.yaml, one of the classes in siamese.config.rows


def build_networks(row: Any, base_dir: Path, seed: int = 0) -> Networks:
    """Return the networks of a method as they are before training, from the base model.

    First weights that are drawn are a function of `seed`; the global generator is left as it was.

    Raises: UserError when the number of hint widths does not fit the VAE.
    """
    unet = load_unet(base_dir)
    factor = reduction(base_dir, "vae")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return METHODS[row.method].build(row, unet, factor)


def trained_state(networks: Networks) -> dict[str, Tensor]:
    """Return everything that a checkpoint holds, by name; names of the hint encoder tell a dense one from a plain."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in networks.saved().items()
        for key, value in module.state_dict().items()
    }


def load_trained_state(networks: Networks, state: Mapping[str, Tensor]) -> None:
    """Load what `trained_state` returned. Raises: UserError when a name or a shape is missing, extra or different."""
    expected = trained_state(networks)
    wrong = sorted(set(expected) ^ set(state))
    wrong += [key for key in set(expected) & set(state) if expected[key].shape != state[key].shape]
    if wrong:
        raise UserError(f"the checkpoint is of another generator; {len(wrong)} weights do not fit, such as", wrong[:4])
    for prefix, module in networks.saved().items():
        module.load_state_dict({k[len(prefix) + 1 :]: v for k, v in state.items() if k.startswith(f"{prefix}.")})


def _kind(generator: Mapping[str, Any]) -> str:
    """Return method and mode of a row: what tells generators apart whose weights have the same names and shapes."""
    return " ".join(str(generator[key]) for key in ("method", "mode") if key in generator)


def save_generator(networks: Networks, context: Tensor, config: dict, out_dir: Path) -> None:
    """Write generator.safetensors, which names its method in the header, and config.json to out_dir."""
    state = {**trained_state(networks), "context": context.contiguous()}
    save_file(state, out_dir / WEIGHTS, metadata={"generator": _kind(config["generator"])})
    write_json(out_dir / "config.json", config)


def read_config(folder: Path) -> dict:
    """Return the configuration of a trained generator. Raises: UserError when there is none."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no trained generator: run dvc repro, which trains it first")
    return json.loads((folder / "config.json").read_text())


def load_generator(folder: Path, base_dir: Path) -> Trained:
    """Return a trained generator.

    Raises: UserError when it is not complete, was trained on another base model, or its weights are not of the method
    and the mode that its configuration says.
    """
    config = read_config(folder)
    found = base_info(base_dir)["sha256"]
    if config["base"] != found:
        raise UserError(f"{folder} was trained on the base model {config['base'][:12]}, but {base_dir} is {found[:12]}")
    wanted = _kind(config["generator"])
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            kind = (file.metadata() or {}).get("generator", "no method")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder} holds no whole generator ({error}): run dvc repro, which trains it anew") from error
    if kind != wanted:
        raise UserError(
            f"the checkpoint is of another generator: {folder / WEIGHTS} names {kind}, config.json {wanted}",
            ["weights of an older version name no method: run dvc repro, which trains it anew"],
        )
    state = load_file(folder / WEIGHTS)
    context = state.pop("context")
    row = TypeAdapter(Generator).validate_json(json.dumps(config["generator"]))
    networks = build_networks(row, base_dir)
    load_trained_state(networks, state)
    for network in networks.all():
        network.eval().requires_grad_(False)
    return Trained(networks, context, config, row)
