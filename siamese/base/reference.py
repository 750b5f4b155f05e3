"""A base model that lies elsewhere, on disk or on the hub: found, checked, and recorded by place and hash."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError
from data.pairs.files import read_json, sha256_tree, write_json
from siamese.config.base import DiffusersBase

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
VARIANTS = ("fp16", "non_ema")
SETTLED_NS = 2_000_000_000  # the coarsest times of files that are in use


def variant_of(part: str, variant: str | None) -> str | None:
    """Return which files of a part to read: only the UNet has averaged and plain weights."""
    return None if variant == "non_ema" and part != "unet" else variant


def hub_patterns(variant: str | None) -> tuple[list[str], list[str]]:
    """Return which files of a hub repository to fetch, and which of these not: each weight once, in one variant."""
    wanted, others = ["*.json", "tokenizer/*"], []
    for part in PARTS:
        kind = variant_of(part, variant)
        wanted.append(f"{part}/*.{kind}.safetensors" if kind else f"{part}/*.safetensors")
        others += [] if kind else [f"{part}/*.{name}.safetensors" for name in VARIANTS]
    return wanted, others


def find_diffusers_model(cfg: DiffusersBase, *, offline: bool = False) -> Path:
    """Return the folder of a base model that is named by path or by hub name.

    Raises: UserError when it is neither on disk nor to be had from the hub, or when sub-folders are missing.
    """
    folder = Path(cfg.model).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        wanted, others = hub_patterns(cfg.variant)
        options: dict[str, Any] = {"allow_patterns": wanted, "ignore_patterns": others, "local_files_only": offline}
        try:
            folder = Path(snapshot_download(cfg.model, revision=cfg.revision, **options))
        except (OSError, ValueError) as error:  # all that the hub raises
            raise UserError(
                f"base.model: '{cfg.model}' is no folder here, and the hub did not give it ({type(error).__name__})",
                [
                    "download the model in the diffusers layout and set base.model to its folder,",
                    "or base.kind: single_file and base.path to a checkpoint in one file,",
                    "or base.kind: pretrain, which needs no download",
                ],
            ) from error
    missing = [f"{part}/" for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(f"{folder} is not a Stable Diffusion model in the diffusers layout; it lacks", missing)
    return folder


def family_problems(unet: Mapping, vae: Mapping, text: Mapping) -> list[str]:
    """Return what a model with these settings of its parts has that no Stable Diffusion 1.x has."""
    latents, width = vae.get("latent_channels"), text.get("hidden_size")
    channels, prompt = unet.get("in_channels"), unet.get("cross_attention_dim")
    wrong = {
        f"a UNet for {channels} channels, as for inpainting, not for the {latents} of its latents": channels != latents,
        f"a UNet for prompts of width {prompt}, not of the {width} of its text encoder": prompt != width,
        "a UNet that wants more than the prompt, as in Stable Diffusion XL": bool(unet.get("addition_embed_type")),
    }
    return [problem for problem, is_so in wrong.items() if is_so]


def write_base_reference(cfg: DiffusersBase, out_dir: Path) -> None:
    """Write out_dir/base.json: where the model is and a hash of all its parts, on which the stages below depend.

    "ema" is whether the UNet's weights are averaged ones: False for the variant non_ema, otherwise null, because the
    layout does not say (the usual folder of Stable Diffusion 1.5 has the averaged ones).

    Raises: UserError as `find_diffusers_model`, and for another family of models.
    """
    folder = find_diffusers_model(cfg)
    files = [folder / part / "config.json" for part in ("unet", "vae", "text_encoder")]
    if missing := [str(path) for path in files if not path.is_file()]:
        raise UserError("files of the base model are missing", missing)
    if problems := family_problems(*(read_json(path, "fetch the model again") for path in files)):
        raise UserError(f"{folder} is no Stable Diffusion 1.x; it has", problems)
    digest = model_hash(folder)
    ema = False if cfg.variant == "non_ema" else None
    write_json(out_dir / "base.json", {**cfg.model_dump(), "ema": ema, "sha256": digest})


def model_hash(folder: Path) -> str:
    """Return the hash of all parts of a model, read anew only when a file's size or times are no longer the same.

    It is remembered in .work (or SIAMESE_WORK), for all processes and later runs.
    """
    files = sorted(path for part in PARTS for path in (folder / part).rglob("*") if path.is_file())
    facts = {path: path.stat() for path in files}  # the change time is the one that no copy can carry over
    state = [[str(p.relative_to(folder)), s.st_size, s.st_mtime_ns, s.st_ctime_ns] for p, s in facts.items()]
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    memory = Path(os.environ.get("SIAMESE_WORK", ".work")) / "base-hashes" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text())
        if known["files"] == state:
            return known["sha256"]
    digest = sha256_tree(*(folder / part for part in PARTS))
    newest = max((max(s.st_mtime_ns, s.st_ctime_ns) for s in facts.values()), default=0)
    if time.time_ns() - newest > SETTLED_NS:  # a file that is just being written could change and keep its times
        with contextlib.suppress(OSError):  # nothing is lost but time
            write_json(memory, {"files": state, "sha256": digest})
    return digest
