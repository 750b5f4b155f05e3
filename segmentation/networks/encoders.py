"""Encoders by name, with the pretrained weights that a row asks for."""

import difflib
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import nn

from data.pairs.errors import UserError
from segmentation.config.networks import NetworkConfig
from segmentation.networks.encoder_weights import IMAGENET, TIMM, fill_encoder, read_weights, timm_name


def _known_encoders(name: str) -> list[str]:
    """Return the encoders of the family that a name belongs to."""
    if name.startswith(TIMM):
        return [TIMM + model for model in timm.list_models() + timm.list_pretrained()]
    return smp.encoders.get_encoder_names()


def _known_weights(name: str) -> list[str]:
    """Return the names of an encoder's weights; a timm encoder may carry the only one in its own name."""
    if not name.startswith(TIMM):
        return sorted(smp.encoders.encoders[name]["pretrained_settings"])
    model, _, tag = name.removeprefix(TIMM).partition(".")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{model}.*")]
    return [IMAGENET, *([tag] if tag else tags)] if tags else []


def check_names(row: NetworkConfig) -> None:
    """Raise UserError for an unknown encoder, or for weights that it never had."""
    name, names = row.encoder_name(), _known_encoders(row.encoder_name())
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
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

    Raises: UserError when encoder_file cannot be used; what the library raises when the encoder cannot be had.
    """
    name, args = row.encoder_name(), {**defaults, **row.encoder_args}
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
