"""What the generators train on, computed once: VAE posteriors, prompt embeddings, and the pairs as hints."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.manifest import PairSet
from data.pairs.prepared import LoneImages
from data.pairs.training import accelerator
from siamese.base.load import base_info, encode_prompts, load_vae, reduction

Tensors = dict[str, Tensor]
UNLABELLED = "unlabelled.safetensors"


def to_signed(images: np.ndarray) -> Tensor:
    """Return float32 (N, 3, H, W) in [-1, 1] from uint8 (N, H, W, 3): what the VAE takes."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def mask_hints(masks: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return float32 (N, 3, H, W) in [0, 1] from masks (N, H, W): both hints lie in [0, 1] and have three channels.

    Both are channels_last in memory, as the networks are.
    """
    return torch.as_tensor(masks).to(device).float()[..., None].repeat(1, 1, 1, 3).permute(0, 3, 1, 2)


def image_hints(images: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return float32 (N, 3, H, W) in [0, 1] from uint8 (N, H, W, 3)."""
    return torch.as_tensor(images).to(device).permute(0, 3, 1, 2).float() / 255


def check_size(base_dir: Path, size_px: int) -> None:
    """Raise UserError when images of this side do not fit the base model's VAE and UNet."""
    multiple = reduction(base_dir, "vae") * reduction(base_dir, "unet")
    if size_px % multiple:
        raise UserError(f"size_px {size_px} does not fit the base model: its images need a multiple of {multiple} px")


def _posteriors(vae: AutoencoderKL, items: Sequence[Any], image: Callable[[Any], np.ndarray], batch: int) -> Tensors:
    means, stds = [], []
    for start in range(0, len(items), batch):
        images = np.stack([image(item) for item in items[start : start + batch]])
        with torch.inference_mode():
            posterior = vae.encode(to_signed(images).to(vae.device)).latent_dist
        means.append(posterior.mean.cpu() * vae.config.scaling_factor)
        stds.append(posterior.std.cpu() * vae.config.scaling_factor)
    return {"mean": torch.cat(means), "std": torch.cat(stds)}


def _save(tensors: Tensors, items: Sequence[Any], base_dir: Path, path: Path) -> None:
    source = {"ids": [item.id for item in items], "base": base_info(base_dir)["sha256"]}
    metadata = {"source": json.dumps(source)}  # one key: safetensors writes several in any order
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=metadata)


def cache_latents(
    real: PairSet, prompt: str, base_dir: Path, out_dir: Path, *, lone: LoneImages | None = None, batch: int = 2
) -> None:
    """Write the posterior of every training image and the embeddings of the prompt and of the empty one.

    latents.safetensors: mean and std, float32 (N, C, h, w), scaled by the VAE's factor, in the order of the manifest;
    context, float32 (2, 77, D). A draw mean + std * noise is the same in distribution as encoding at every step.
    Where there are images without masks, unlabelled.safetensors has their mean and std, in the order of their table.
    """
    check_size(base_dir, real.image(real.pairs[0]).shape[0])
    vae = load_vae(base_dir).to(accelerator().device)
    tensors = _posteriors(vae, real.pairs, real.image, batch)
    tensors["context"] = encode_prompts(base_dir, [prompt, ""])
    _save(tensors, real.pairs, base_dir, out_dir / "latents.safetensors")
    if lone:
        _save(_posteriors(vae, lone.rows, lone.image, batch), lone.rows, base_dir, out_dir / UNLABELLED)


class TrainingData(NamedTuple):
    """All training pairs of one data set in memory."""

    mean: Tensor  # (N, C, h, w)
    std: Tensor  # (N, C, h, w)
    context: Tensor  # (2, 77, D): the prompt, the empty prompt
    images: np.ndarray  # uint8 (N, H, W, 3)
    masks: np.ndarray  # (N, H, W) in [0, 1], as PairSet.hint gives them
    normals: np.ndarray | None = None  # uint8 (M, H, W, 3): images without a lesion, for the methods that need them
    ids: tuple[str, ...] = ()  # of the pairs


def _read(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} holds no cached latents: run dvc repro, which makes them", [str(error)]) from error


def load_training_data(
    real: PairSet, latents_dir: Path, normals: np.ndarray | None = None, pseudo: PairSet | None = None
) -> TrainingData:
    """Return the cached latents with the pairs that they were made from, and images without a lesion.

    `pseudo` are the images without masks as pairs, in the order of their table; they stand after the real pairs.

    Raises: UserError when the latents are not there, or are damaged.
    """
    tensors = _read(latents_dir / "latents.safetensors")
    mean, std, context, images, masks = *(tensors[k] for k in ("mean", "std", "context")), real.images(), real.hints()
    if pseudo:
        further = _read(latents_dir / UNLABELLED)
        mean, std = torch.cat([mean, further["mean"]]), torch.cat([std, further["std"]])
        images, masks = np.concatenate([images, pseudo.images()]), np.concatenate([masks, pseudo.hints()])
    ids = tuple(pair.id for pairs in (real, pseudo) if pairs for pair in pairs.pairs)
    return TrainingData(mean, std, context, images, masks, normals, ids)


class PixelData(NamedTuple):
    """All training pairs of one data set in memory, for methods that use no latents."""

    images: np.ndarray  # uint8 (N, H, W, 3)
    masks: np.ndarray  # (N, H, W) in [0, 1], as PairSet.hint gives them
    normals: np.ndarray | None = None  # uint8 (M, H, W, 3): images without a lesion, for the methods that need them
    ids: tuple[str, ...] = ()  # of the pairs
