"""The base model that the generators start from, always in the diffusers layout.

A base folder of ours holds base.json and, where the model was pretrained here or came in one file, the model itself;
otherwise base.json says where the model is, so that gigabytes are never copied.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import read_json
from siamese.base.reference import find_diffusers_model, model_hash, variant_of
from siamese.config.base import DiffusersBase
from siamese.config.rows import downsampling

# of the official sampler (spec 1.4, row 17)
OFFICIAL_DDIM: dict[str, Any] = {
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading",
}  # fmt: skip
DEFAULT_CHANNELS = {"vae": (64,), "unet": (320, 640, 1280, 1280)}  # diffusers', for a config that does not say them


def base_info(base_dir: Path, *, whole: bool = True) -> dict:
    """Return what base.json says: kind, name and hash of the model. Raises: UserError when it says nothing."""
    path = base_dir / "base.json"
    if not path.is_file():
        raise UserError(f"{path} is missing: run dvc repro, which makes the base model first")
    return read_json(path, "run dvc repro, which makes the base model anew", ("kind", "sha256") if whole else ("kind",))


@functools.cache
def verify(folder: Path, digest: str) -> None:
    """Raise UserError when a model outside has changed since its hash was recorded; DVC does not watch it."""
    if model_hash(folder) != digest:
        raise UserError(
            f"{folder} has changed since its hash was recorded",
            ["bring the old files back, or run the base stage anew: dvc repro --force --single-item base@<data set>"],
        )


def _model_folder(base_dir: Path) -> tuple[Path, str | None]:
    info = base_info(base_dir, whole=False)  # its hash comes last, when all of it is there
    if info["kind"] != "diffusers":
        return base_dir, None
    cfg = DiffusersBase(**{name: info[name] for name in DiffusersBase.model_fields})
    of_project = Path(*base_dir.resolve().parts[:-3], cfg.model)  # outputs/base/<data set> lies in it
    if not Path(cfg.model).expanduser().is_dir() and of_project.is_dir():  # from another working directory
        cfg = cfg.model_copy(update={"model": str(of_project)})
    folder = find_diffusers_model(cfg, offline=True)
    verify(folder, info["sha256"])
    return folder, cfg.variant


@contextlib.contextmanager
def _named_errors(title: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(title, [str(error)]) from error


def _load(part: Any, base_dir: Path, name: str):
    folder, variant = _model_folder(base_dir)
    variant = variant_of(name, variant)
    with _named_errors(f"{folder / name} cannot be loaded (variant {variant})"):
        model, report = part.from_pretrained(
            folder, subfolder=name, variant=variant, torch_dtype=torch.float32, output_loading_info=True
        )
    if report["missing_keys"]:
        raise UserError(f"{folder / name} is not complete; it lacks such as", sorted(report["missing_keys"])[:4])
    return model.eval().requires_grad_(False)


def load_vae(base_dir: Path) -> AutoencoderKL:
    """Return the frozen autoencoder."""
    return _load(AutoencoderKL, base_dir, "vae")


def load_unet(base_dir: Path) -> UNet2DConditionModel:
    """Return the frozen UNet."""
    return _load(UNet2DConditionModel, base_dir, "unet")


def stable_diffusion_scheduler() -> DDIMScheduler:
    """Return the noise schedule of Stable Diffusion 1.x as the scheduler that is saved in a base model made here."""
    return DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, **OFFICIAL_DDIM)


def load_scheduler(base_dir: Path) -> DDIMScheduler:
    """Return the noise schedule as a DDIM scheduler with the settings of the official sampler (spec 1.4, row 17).

    A base model that was made here holds this very scheduler; others may have been saved with another one.

    Raises: UserError when the model predicts something else than the noise.
    """
    folder, _ = _model_folder(base_dir)
    with _named_errors(f"{folder / 'scheduler'} cannot be loaded"):
        scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", **OFFICIAL_DDIM)
    kind = scheduler.config.prediction_type
    if kind != "epsilon":
        raise UserError(f"{folder} predicts {kind}; only models that predict the noise (epsilon) can be trained on")
    return scheduler


def load_text(base_dir: Path) -> tuple[Any, Any]:
    """Return the tokenizer, whose longest text is the longest that the encoder takes, and the frozen text encoder."""
    from transformers import CLIPTextModel, CLIPTokenizer

    folder, _ = _model_folder(base_dir)
    with _named_errors(f"{folder / 'tokenizer'} cannot be loaded"):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = _load(CLIPTextModel, base_dir, "text_encoder")
    tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    return tokenizer, encoder


def encode_prompts(base_dir: Path, prompts: list[str]) -> Tensor:
    """Return the prompt embeddings, float32 (len(prompts), 77, D)."""
    tokenizer, encoder = load_text(base_dir)
    tokens = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return encoder(tokens.input_ids)[0].clone()


def reduction(base_dir: Path, part: str) -> int:
    """Return how many times smaller the last level of a part ("vae", "unet") is than its input, by its config alone."""
    folder, _ = _model_folder(base_dir)
    with _named_errors(f"{folder / part} cannot be loaded"):
        config = read_json(folder / part / "config.json", "bring it back")
    return downsampling(config.get("block_out_channels", DEFAULT_CHANNELS[part]))
