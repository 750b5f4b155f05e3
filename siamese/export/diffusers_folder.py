"""A trained generator as a folder that plain diffusers loads: its networks, its base model, the scheduler."""

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image, ImageDraw

from data.pairs.errors import UserError
from data.pairs.files import copy_file
from siamese.base.load import encode_prompts, load_scheduler, load_text, load_vae
from siamese.config.sections import SamplingConfig
from siamese.method import hint
from siamese.method.checkpoint import Trained, load_generator, read_config
from siamese.sampling.sampler import SOLVERS, guided_range, own_sampling

METHODS = ("controlnet", "siamese", "adc")  # one ControlNet that sees the mask alone
DENSE = "dense_hint"  # module of a ControlNet with the dense hint encoder, in its own folder as diffusers asks
MASK = "mask.png"  # an example
CLOSE = 1e-2  # of embeddings from two machines; other words are further apart


def check_method(folder: Path) -> None:
    """Raise UserError for a generator that no ControlNet of diffusers is, with its method."""
    method = read_config(folder)["generator"]["method"]
    if method not in METHODS:
        raise UserError(
            f"{folder} is a generator of the method {method}, which no ControlNet pipeline of diffusers loads",
            [f"methods that can be exported: {', '.join(METHODS)}"],
        )


def not_in_diffusers(row: Any, cfg: SamplingConfig) -> dict[str, float]:
    """Return the options of this project's sampling that change images and that diffusers' pipeline does not have."""
    cfg = own_sampling(row, cfg)
    options: dict[str, float] = {name: getattr(cfg, name) for name in ("encoder_every", "mask_guidance", "strength")}
    if len(guided_range(cfg, cfg.guidance)):
        options |= {name: getattr(cfg, name) for name in ("guidance_rescale", "guided_from", "guided_share")}
    return {name: value for name, value in options.items() if value != SamplingConfig.model_fields[name].default}


def _imported(path: Path) -> ModuleType:
    """Return a file as the module of its name, which diffusers writes down as the place of its classes."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _controlnet(trained: Trained, folder: Path) -> ControlNetModel:
    """Return the ControlNet as diffusers loads it; a dense hint encoder brings its code along into the folder."""
    network = trained.networks.controlnet
    if trained.row.hint != "dhi":
        return network
    path = folder / f"{DENSE}.py"
    copy_file(Path(inspect.getfile(hint)), path)
    config = {**network.config, "conditioning_embedding_out_channels": list(trained.row.hint_widths)}
    dense = _imported(path).DenseHintControlNet.from_config(config)
    dense.load_state_dict(network.state_dict())
    return dense


def _check_prompt(trained: Trained, base_dir: Path, prompt: str) -> None:
    embedded = encode_prompts(base_dir, [prompt, ""])
    if not torch.allclose(embedded, trained.context, atol=CLOSE):
        raise UserError(
            f"the generator was not trained with the prompt '{prompt}'",
            ["put the prompt of its training back into the row of its data set in params.yaml"],
        )


def example_mask(size_px: int) -> np.ndarray:
    """Return uint8 (size_px, size_px): a lesion of 255 on 0, drawn, so that it is nobody's."""
    image = Image.new("L", (size_px, size_px))
    places = (0.30, 0.35, 0.68, 0.65)
    ImageDraw.Draw(image).ellipse([round(place * size_px) for place in places], fill=255)
    return np.asarray(image)


def write_diffusers(
    folder: Path, base_dir: Path, cfg: SamplingConfig, prompt: str, size_px: int, out: Path
) -> dict[str, Any]:
    """Write a trained generator to the empty folder `out` in the layout of a StableDiffusionControlNetPipeline.

    The UNet has the decoder that the generator trained, VAE and text encoder are those of the base model, and the
    scheduler is saved as the sampler here uses it. mask.png is a drawn example of size_px.

    Returns what the card says of its use: latent_shape (C, h, w), dense (whether code of the folder is run), and
    lacking, the options that diffusers has not.

    Raises: UserError for a method that diffusers has no pipeline for, another prompt than that of the training, and as
    `load_generator`.
    """
    check_method(folder)
    trained = load_generator(folder, base_dir)
    _check_prompt(trained, base_dir, prompt)
    vae, (tokenizer, text_encoder) = load_vae(base_dir), load_text(base_dir)
    pipeline = StableDiffusionControlNetPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=trained.networks.unet,
        controlnet=_controlnet(trained, out / "controlnet"),
        scheduler=SOLVERS[cfg.solver](load_scheduler(base_dir), cfg),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out)
    Image.fromarray(example_mask(size_px)).save(out / MASK)
    side = size_px // pipeline.vae_scale_factor
    return {
        "latent_shape": (vae.config.latent_channels, side, side),
        "dense": trained.row.hint == "dhi",
        "lacking": not_in_diffusers(trained.row, cfg),
    }
