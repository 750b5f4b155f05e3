"""Trained generators on disk: safetensors beside the resolved configuration, loaded strictly."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.files import write_json
from siamese.base import base_info, load_unet, load_vae, vae_factor
from siamese.config import Generator
from siamese.control import decoder_modules
from siamese.hint import DenseHintEncoder, hint_factor


class Trained(NamedTuple):
    """The networks of one generator and the embeddings (2, 77, D) of its prompt and of the empty one."""

    controlnet: ControlNetModel
    unet: UNet2DConditionModel
    context: Tensor
    config: dict


def build_networks(row: Generator, base_dir: Path, seed: int = 0) -> tuple[ControlNetModel, UNet2DConditionModel]:
    """Return a ControlNet that starts as the UNet's encoder with zero convolutions, and the UNet to be trained.

    The hint encoder's first weights are a function of `seed`; the global generator is left as it was.

    Raises: UserError when the number of hint widths does not fit the VAE.
    """
    unet = load_unet(base_dir)
    factor = vae_factor(load_vae(base_dir))
    if hint_factor(row.hint, row.hint_widths) != factor:
        stages = factor.bit_length() + (0 if row.hint == "hi" else 1)
        raise UserError(
            f"hint_widths {list(row.hint_widths)} make hint features {hint_factor(row.hint, row.hint_widths)} times "
            f"smaller than the image, but the latents are {factor} times smaller: give {stages} widths for {row.hint}"
        )
    widths = row.hint_widths if row.hint == "hi" else (16, 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths)
        if row.hint == "dhi":
            controlnet.controlnet_cond_embedding = DenseHintEncoder(row.hint_widths, unet.config.block_out_channels[0])
    for module in decoder_modules(unet).values():
        module.requires_grad_(row.train_decoder)
    return controlnet, unet


def _trained_modules(controlnet: ControlNetModel, unet: UNet2DConditionModel) -> dict[str, torch.nn.Module]:
    return {"controlnet": controlnet, **{f"unet.{name}": module for name, module in decoder_modules(unet).items()}}


def trained_state(controlnet: ControlNetModel, unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """Return everything that training changes, by name; names of the hint encoder tell a dense one from a plain one."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in _trained_modules(controlnet, unet).items()
        for key, value in module.state_dict().items()
    }


def load_trained_state(controlnet: ControlNetModel, unet: UNet2DConditionModel, state: dict[str, Tensor]) -> None:
    """Load what `trained_state` returned. Raises: UserError when a name or a shape is missing, extra or different."""
    expected = trained_state(controlnet, unet)
    wrong = sorted(set(expected) ^ set(state))
    wrong += [key for key in set(expected) & set(state) if expected[key].shape != state[key].shape]
    if wrong:
        raise UserError(f"the checkpoint is of another generator; {len(wrong)} weights do not fit, such as", wrong[:4])
    for prefix, module in _trained_modules(controlnet, unet).items():
        module.load_state_dict({k[len(prefix) + 1 :]: v for k, v in state.items() if k.startswith(f"{prefix}.")})


def save_generator(
    controlnet: ControlNetModel, unet: UNet2DConditionModel, context: Tensor, config: dict, out_dir: Path
) -> None:
    """Write generator.safetensors and config.json to out_dir."""
    save_file({**trained_state(controlnet, unet), "context": context.contiguous()}, out_dir / "generator.safetensors")
    write_json(out_dir / "config.json", config)


def load_generator(folder: Path, base_dir: Path) -> Trained:
    """Return a trained generator. Raises: UserError when it was trained on another base model or is not complete."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no trained generator: run dvc repro, which trains it first")
    config = json.loads((folder / "config.json").read_text())
    found = base_info(base_dir)["sha256"]
    if config["base"] != found:
        raise UserError(f"{folder} was trained on the base model {config['base'][:12]}, but {base_dir} is {found[:12]}")
    state = load_file(folder / "generator.safetensors")
    context = state.pop("context")
    row: Generator = TypeAdapter(Generator).validate_json(json.dumps(config["generator"]))
    controlnet, unet = build_networks(row, base_dir)
    load_trained_state(controlnet, unet, state)
    return Trained(controlnet.eval().requires_grad_(False), unet.eval().requires_grad_(False), context, config)
