"""The base model that the generators start from, always in the diffusers layout.

A base folder of ours holds base.json and, where the model was pretrained here or came in one file, the model itself;
otherwise base.json says where the model is, so that gigabytes are never copied.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree, write_json
from siamese.config.sections import DiffusersBase

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
VARIANTS = ("fp16", "non_ema")
SETTLED_NS = 2_000_000_000  # the coarsest times of files that are in use


def _variant_of(part: str, variant: str | None) -> str | None:
    """Return which files of a part to read: only the UNet has averaged and plain weights."""
    return None if variant == "non_ema" and part != "unet" else variant


def hub_patterns(variant: str | None) -> tuple[list[str], list[str]]:
    """Return which files of a hub repository to fetch, and which of these not: each weight once, in one variant."""
    wanted, others = ["*.json", "tokenizer/*"], []
    for part in PARTS:
        kind = _variant_of(part, variant)
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
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        wanted, others = hub_patterns(cfg.variant)
        options: dict[str, Any] = {"allow_patterns": wanted, "ignore_patterns": others, "local_files_only": offline}
        try:
            folder = Path(snapshot_download(cfg.model, revision=cfg.revision, **options))
        except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
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


def _check_family(folder: Path) -> None:
    """Raise UserError when the model is no Stable Diffusion 1.x or of that shape."""
    files = {part: folder / part / "config.json" for part in ("unet", "vae", "text_encoder")}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise UserError("files of the base model are missing", missing)
    unet, vae, text = (json.loads(path.read_text()) for path in files.values())
    latents, width = vae.get("latent_channels"), text.get("hidden_size")
    wrong = {
        f"its UNet takes {unet.get('in_channels')} channels, as for inpainting, not the {latents} of its latents": (
            unet.get("in_channels") != latents
        ),
        f"its UNet wants prompts of width {unet.get('cross_attention_dim')}, its text encoder gives {width}": (
            unet.get("cross_attention_dim") != width
        ),
        "its UNet wants more than the prompt, as in Stable Diffusion XL": bool(unet.get("addition_embed_type")),
    }
    problems = [problem for problem, is_so in wrong.items() if is_so]
    if problems:
        raise UserError(f"{folder} is no Stable Diffusion 1.x", problems)


def write_base_reference(cfg: DiffusersBase, out_dir: Path) -> None:
    """Write out_dir/base.json: where the model is and a hash of all its parts, on which the stages below depend.

    "ema" is whether the UNet's weights are averaged ones: False for the variant non_ema, otherwise null, because the
    layout does not say (the usual folder of Stable Diffusion 1.5 has the averaged ones).

    Raises: UserError as `find_diffusers_model`, and for another family of models.
    """
    folder = find_diffusers_model(cfg)
    _check_family(folder)
    digest = model_hash(folder)
    ema = False if cfg.variant == "non_ema" else None
    write_json(out_dir / "base.json", {**cfg.model_dump(), "ema": ema, "sha256": digest})


def base_info(base_dir: Path) -> dict:
    """Return what base.json says: kind, name and hash of the model."""
    path = base_dir / "base.json"
    if not path.is_file():
        raise UserError(f"{path} is missing: run dvc repro, which makes the base model first")
    return json.loads(path.read_text())


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


@functools.cache
def _verify(folder: Path, digest: str) -> None:
    """Raise UserError when a model outside has changed since its hash was recorded; DVC does not watch it."""
    if model_hash(folder) != digest:
        raise UserError(
            f"{folder} has changed since its hash was recorded",
            ["bring the old files back, or run the base stage anew: dvc repro --force --single-item base@<data set>"],
        )


def _model_folder(base_dir: Path) -> tuple[Path, str | None]:
    info = base_info(base_dir)
    if info["kind"] != "diffusers":
        return base_dir, None
    cfg = DiffusersBase(**{name: info[name] for name in DiffusersBase.model_fields})
    folder = find_diffusers_model(cfg, offline=True)
    _verify(folder, info["sha256"])
    return folder, cfg.variant


@contextlib.contextmanager
def _named_errors(title: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(title, [str(error)]) from error


def _load(part: Any, base_dir: Path, name: str):
    folder, variant = _model_folder(base_dir)
    variant = _variant_of(name, variant)
    with _named_errors(f"{folder / name} cannot be loaded (variant {variant})"):
        model, found = part.from_pretrained(
            folder, subfolder=name, variant=variant, torch_dtype=torch.float32, output_loading_info=True
        )
    if found["missing_keys"]:
        raise UserError(f"{folder / name} is not complete; it lacks such as", sorted(found["missing_keys"])[:4])
    return model.eval().requires_grad_(False)


def load_vae(base_dir: Path) -> AutoencoderKL:
    """Return the frozen autoencoder."""
    return _load(AutoencoderKL, base_dir, "vae")


def load_unet(base_dir: Path) -> UNet2DConditionModel:
    """Return the frozen UNet."""
    return _load(UNet2DConditionModel, base_dir, "unet")


def load_scheduler(base_dir: Path) -> DDIMScheduler:
    """Return the noise schedule as a DDIM scheduler with the settings of the official sampler (spec 1.4, row 17).

    Raises: UserError when the model predicts something else than the noise.
    """
    folder, _ = _model_folder(base_dir)
    official = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading"}
    with _named_errors(f"{folder / 'scheduler'} cannot be loaded"):
        scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", **official)
    kind = scheduler.config.prediction_type
    if kind != "epsilon":
        raise UserError(f"{folder} predicts {kind}; only models that predict the noise (epsilon) can be trained on")
    return scheduler


def encode_prompts(base_dir: Path, prompts: list[str]) -> Tensor:
    """Return the prompt embeddings, float32 (len(prompts), 77, D)."""
    from transformers import CLIPTextModel, CLIPTokenizer

    folder, _ = _model_folder(base_dir)
    with _named_errors(f"{folder / 'tokenizer'} cannot be loaded"):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = _load(CLIPTextModel, base_dir, "text_encoder")
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    tokens = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return encoder(tokens.input_ids)[0].clone()


def vae_factor(vae: AutoencoderKL) -> int:
    """Return how many times smaller than the image its latents are: 8 for SD 1.5."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def reduction(base_dir: Path, name: str) -> int:
    """Return how many times smaller the last level of a part ("vae", "unet") is than its input, by its config alone."""
    folder, _ = _model_folder(base_dir)
    classes = {"vae": AutoencoderKL, "unet": UNet2DConditionModel}
    with _named_errors(f"{folder / name} cannot be loaded"):
        config = classes[name].load_config(folder, subfolder=name)
        default = inspect.signature(classes[name]).parameters["block_out_channels"].default
        return 2 ** (len(config.get("block_out_channels", default)) - 1)
