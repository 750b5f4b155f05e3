"""Trained generators on latents on disk: safetensors beside the resolved configuration, loaded strictly."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import write_json
from data.pairs.manifest import PairSet, class_names
from siamese.base.checkpoint_files import flat_state, load_flat_state
from siamese.base.devices import seeded
from siamese.base.load import base_info, load_unet, reduction
from siamese.config.sections import NEEDS, Generator
from siamese.method.networks import Networks
from siamese.method.registry import METHODS

WEIGHTS = "generator.safetensors"


class Trained(NamedTuple):
    """The networks of one generator and the embeddings (2, 77, D) of its prompt and of the empty one."""

    networks: Networks
    context: Tensor
    row: Any  # of params.yaml, one of the classes in siamese.config.rows


def build_networks(row: Any, base_dir: Path, seed: int = 0, *, teacher: bool = True) -> Networks:
    """Return the networks of a method as they are before training, from the base model.

    First weights that are drawn are a function of `seed`; the global generator is left as it was. `teacher`: with those
    that training alone needs.

    Raises: UserError when the number of hint widths does not fit the VAE.
    """
    unet = load_unet(base_dir)
    factor, method = reduction(base_dir, "vae"), METHODS[row.method]

    def build() -> Networks:
        networks = method.build(row, unet, factor)
        if method.teacher and teacher:
            networks = networks._replace(teacher=method.teacher(row, networks))
        return networks

    return seeded(build, seed)


def _kind(generator: Mapping[str, Any]) -> str:
    """Return method and mode of a row: what tells generators apart whose weights have the same names and shapes."""
    return " ".join(str(generator[key]) for key in ("method", "mode") if key in generator)


def save_generator(networks: Networks, context: Tensor, config: dict, out_dir: Path) -> None:
    """Write generator.safetensors, which names its method in the header, and config.json to out_dir."""
    state = {**flat_state(networks.saved()), "context": context.contiguous()}
    save_file(state, out_dir / WEIGHTS, metadata={"generator": _kind(config["generator"])})
    write_json(out_dir / "config.json", config)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what a damaged generator makes the block raise into a UserError: bad JSON, rows, weights, missing keys."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        again = "run dvc repro, which trains it anew, or name the folder of a trained generator of this version"
        raise UserError(f"{folder} holds a damaged generator", [what, again]) from error


def read_config(folder: Path) -> dict:
    """Return the configuration of a trained generator. Raises: UserError when there is none, or it is damaged."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no trained generator: run dvc repro, which trains it first")
    with reading(folder):
        config = json.loads((folder / "config.json").read_text())
        if (method := config["generator"]["method"]) not in NEEDS:
            raise ValueError(f"config.json has the method {method}; known are {', '.join(NEEDS)}")
    return config


def check_base(folder: Path, config: Mapping[str, Any], base_dir: Path) -> None:
    """Raise UserError when a generator was trained on another base model than the one in `base_dir`."""
    base = base_info(base_dir)["sha256"]
    with reading(folder):
        own = str(config["base"])
    if own != base:
        raise UserError(f"{folder} was trained on the base model {own[:12]}, but {base_dir} is {base[:12]}")


def note_pairs(folder: Path, real: PairSet) -> None:
    """Add the side of the training images, in px, and the classes of their masks to config.json."""
    first = real.pairs[0]
    facts = {"size_px": real.image(first).shape[0], "classes": list(class_names(first))}
    write_json(folder / "config.json", read_config(folder) | facts)


def load_generator(folder: Path, base_dir: Path) -> Trained:
    """Return a trained generator.

    Raises: UserError when it is not complete, was trained on another base model, or its weights are not of the method
    and the mode that its configuration says.
    """
    config = read_config(folder)
    check_base(folder, config, base_dir)
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
    with reading(folder):
        state = load_file(folder / WEIGHTS)
        context = state.pop("context")
        row = TypeAdapter(Generator).validate_json(json.dumps(config["generator"]))
    networks = build_networks(row, base_dir, teacher=False)
    load_flat_state(networks.saved(), state)
    for network in networks.all():
        network.eval().requires_grad_(False)
    return Trained(networks, context, row)
