"""Encoders by name, with the pretrained weights that a row asks for; of those of a local file every one must fit."""

import difflib
import pickle
import re
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from data.pairs.errors import UserError, few
from data.pairs.files import sha256_file
from data.pretrained import lite0
from segmentation.config.networks import NetworkConfig
from segmentation.networks.lite0 import lite0_encoder

TIMM = "tu-"  # segmentation_models_pytorch's prefix for encoders that it takes from timm
IMAGENET = "imagenet"  # for timm's encoders: whichever weights are their default
_HEAD = re.compile(r"(fc|head|classifier|last_linear)\.")  # of a classification network; the library drops it
_COUNTER = ".num_batches_tracked"  # older files lack it, and it is no weight
SHOWN = 8  # problems of a file
_UNREADABLE = (
    *(SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, OSError, EOFError, RuntimeError),
    *(AssertionError, AttributeError, LookupError, TypeError, ValueError),
)


def timm_name(row: NetworkConfig) -> str:
    """Return timm's name of a row's encoder, with the tag of its weights if the row gives one."""
    name, weights = row.encoder_name().removeprefix(TIMM), row.encoder_weights
    return f"{name}.{weights}" if weights and weights != IMAGENET and "." not in name else name


def weights_source(row: NetworkConfig) -> str:
    """Return in words where the pretrained weights of a row's encoder come from."""
    name = row.encoder_name()
    if name == lite0.NAME:
        return f"the package {lite0.PACKAGE}"
    if name.startswith(TIMM):
        cfg = timm.models.get_pretrained_cfg(timm_name(row))
        repository, url = (cfg.hf_hub_id, cfg.url) if cfg else (None, None)
    else:
        settings: dict[str, dict[str, str]] = smp.encoders.encoders[name]["pretrained_settings"]
        chosen = settings.get(row.encoder_weights or IMAGENET) or next(iter(settings.values()), {})
        repository, url = chosen.get("repo_id"), chosen.get("url")
    if repository:  # before the address, as timm does
        return f"the repository {repository} of the Hugging Face hub (model.safetensors)"
    return str(url) if url else "nowhere: the library knows none for it"


def weights_hash(row: NetworkConfig) -> str | None:
    """Return the SHA-256 of the file that a row's encoder starts from, None without one."""
    if row.encoder == lite0.NAME:
        return lite0.SHA256
    path = Path(row.encoder_file).expanduser() if row.encoder_file else None
    return sha256_file(path) if path and path.is_file() else None


def _refuse(row: NetworkConfig, what: str, problems: Iterable[str] = (), cause: Exception | None = None) -> NoReturn:
    """Raise UserError for a row's encoder_file, with where the right one comes from and both hashes."""
    path = Path(str(row.encoder_file)).expanduser()
    digest = sha256_file(path) if path.is_file() else "none, there is no such file"
    known = f"the weights of {row.encoder_name()} come from {weights_source(row)}"
    hashes = f"sha256 of the file: {digest}; encoder_sha256: {row.encoder_sha256 or 'not given'}"
    raise UserError(f"encoder_file {path} {what}", [*problems, known, hashes]) from cause


def read_weights(row: NetworkConfig) -> dict[str, Tensor]:
    """Return the tensors of a row's encoder_file by the names in it; nothing is fetched, and no code of it is run.

    Raises: UserError when the file is missing, has another hash than encoder_sha256, or is not readable.
    """
    path = Path(str(row.encoder_file)).expanduser()
    if not path.is_file():
        _refuse(row, "is missing")
    digest = sha256_file(path)
    if row.encoder_sha256 and row.encoder_sha256 != digest:
        _refuse(row, "is another file than encoder_sha256 says")
    if digest == lite0.SHA256:
        _refuse(row, f"is the file of {lite0.NAME}", [f"set encoder: {lite0.NAME}, which reads it by itself"])
    try:
        state = timm.models.load_state_dict(str(path), weights_only=True)
    except _UNREADABLE as error:
        _refuse(row, "cannot be read as a checkpoint of weights", [repr(error)[:200]], error)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _as_timm(row: NetworkConfig, args: dict[str, Any], state: dict[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """Return tensors by timm's names instead of the authors', and the names that the whole network of timm has."""
    with torch.device("meta"):
        whole = timm.create_model(timm_name(row), **args)
    module = sys.modules[timm.models.model_entrypoint(timm_name(row)).__module__]
    rename = getattr(module, "checkpoint_filter_fn", None)
    return rename(state, whole) if rename else state, set(whole.state_dict())


def fill_encoder(encoder: nn.Module, row: NetworkConfig, args: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Put what `read_weights` returned into a row's encoder, which was built with `args`.

    Every weight of the encoder must be there. Left unused are only the classification head and, of timm's networks,
    the stages that the encoder does not reach.

    Raises: UserError when a weight is missing, has another shape, or belongs to no part of the encoder.
    """
    part, spare = encoder, set[str]()
    if row.encoder_name().startswith(TIMM):
        part = encoder.model
        state, spare = _as_timm(row, args, state)
    wanted = part.state_dict()
    # what timm's feature extractors call stages_0.x or model.x is stages.0.x or x in a file
    in_file = {own: re.sub(r"^([a-z_]+?)_(\d+)\.", r"\1.\2.", own.removeprefix("model.")) for own in wanted}
    names = {own: own if own in state else name for own, name in in_file.items()}
    used = spare.union(names.values())
    problems = [
        *(f"missing: {name}" for name in names.values() if name not in state and not name.endswith(_COUNTER)),
        *(f"unexpected: {name}" for name in state if name not in used and not _HEAD.match(name)),
        *(
            f"{name} has the shape {tuple(state[name].shape)}, not {tuple(wanted[own].shape)}"
            for own, name in names.items()
            if name in state and state[name].shape != wanted[own].shape
        ),
    ]
    if problems:
        _refuse(row, f"does not fit encoder {row.encoder_name()}", few(problems, SHOWN))
    part.load_state_dict({own: state.get(name, wanted[own]) for own, name in names.items()})


def _known_weights(name: str) -> list[str]:
    """Return the names of an encoder's weights; a timm encoder may carry the only one in its own name."""
    if not name.startswith(TIMM):
        return sorted(smp.encoders.encoders[name]["pretrained_settings"])
    model, _, tag = name.removeprefix(TIMM).partition(".")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}.*")]
    return [IMAGENET, *([tag] if tag else tags)] if tags else []


def check_names(row: NetworkConfig) -> None:
    """Raise UserError for an unknown encoder, or for weights that it never had."""
    name = row.encoder_name()
    if name == lite0.NAME:
        return
    if name.startswith(TIMM):
        names = [TIMM + model for model in timm.list_models() + timm.list_pretrained()]
    else:
        names = smp.encoders.get_encoder_names()
    if name not in names:
        near = difflib.get_close_matches(name, [*names, lite0.NAME], n=3, cutoff=0.4)
        hint = f"nearest names: {', '.join(near)}" if near else "names are listed on smp.readthedocs.io under Encoders"
        raise UserError(f"encoder {name!r} is unknown", [hint])
    weights = _known_weights(name)
    if row.encoder_weights and row.encoder_weights not in weights:
        allowed = f"allowed are {', '.join(weights)}, or encoder_weights: null" if weights else "it has none at all"
        raise UserError(f"encoder {name!r} has no weights {row.encoder_weights!r}", [allowed])


def _library_encoder(name: str, depth: int, weights: str | None, args: dict[str, Any]) -> nn.Module:
    """Return an encoder of the library itself, whose own function takes no arguments for it."""
    if not args:
        return smp.encoders.get_encoder(name, depth=depth, weights=weights)
    entry = smp.encoders.encoders[name]
    widths = {"out_channels": [3, 0, *args["embed_dims"]]} if "embed_dims" in args else {}
    encoder = entry["encoder"](**{**entry["params"], **widths, **args}, depth=depth, output_stride=32)
    if weights:
        encoder.load_state_dict(smp.encoders.get_encoder(name, depth=depth, weights=weights).state_dict())
    return encoder


def build_encoder(row: NetworkConfig, *, pretrained: bool, depth: int = 5, **defaults: Any) -> nn.Module:
    """Return the encoder of a row, with `defaults` for what its encoder_args leave out.

    For images (B, 3, H, W) it returns `depth` + 1 maps: the images, then the stages at strides 2, 4, 8 and so on, the
    first without channels where there is none. `out_channels` lists their channels.

    Raises: UserError when encoder_file, or the package of lite0, cannot be used; what the library raises when the
    encoder cannot be had.
    """
    name, args = row.encoder_name(), {**defaults, **row.encoder_args}
    if name == lite0.NAME:
        return lite0_encoder(depth, args, pretrained=pretrained)
    state = read_weights(row) if pretrained and row.encoder_file else None
    fetched = row.encoder_weights if pretrained and not row.encoder_file else None
    if name.startswith(TIMM):
        full = TIMM + timm_name(row)
        encoder = smp.encoders.get_encoder(full, depth=depth, weights=True if fetched else None, **args)
    else:
        encoder = _library_encoder(name, depth, fetched, args)
    if state is not None:
        fill_encoder(encoder, row, args, state)
    return encoder
