"""Checkpoints in one file, with Stable Diffusion's original names (ldm), turned into the diffusers layout offline."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from data.pairs.errors import UserError
from data.pairs.files import sha256_file, sha256_tree, write_json
from siamese.base.checkpoint_files import UNET, convert, misfits, read_checkpoint, refuse_misfits, without_wrappers
from siamese.base.load import stable_diffusion_scheduler
from siamese.base.reference import PARTS, family_problems
from siamese.base.text import clip_tokenizer, special_tokens
from siamese.config.base import SingleFileBase

VAE, TEXT = "first_stage_model.", "cond_stage_model.transformer."
NOT_READ = ("model_ema.", "control_model.", "first_stage_model.loss.")
LEVELS = 4
CLIP_HEAD = 64
GROUPS = 32


def _configs(state: Mapping[str, Tensor]) -> tuple[dict, dict, dict]:
    """Return the settings of UNet, VAE and text encoder: sizes from the tensors, the rest SD 1.5's or its defaults."""

    def size(name: str, axis: int = 0) -> int:
        return state[name].shape[axis]

    words, layer = f"{TEXT}text_model.embeddings.token_embedding.weight", f"{TEXT}text_model.encoder.layers."
    unet = {
        "sample_size": 64,
        "in_channels": size(f"{UNET}input_blocks.0.0.weight", 1),
        "out_channels": size(f"{UNET}out.2.weight"),
        "block_out_channels": tuple(
            size(f"{UNET}input_blocks.{3 * level + 1}.0.out_layers.3.weight") for level in range(LEVELS)
        ),
        "cross_attention_dim": size(f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 1),
    }
    vae = {
        "sample_size": 512,
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
        "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
        "block_out_channels": tuple(size(f"{VAE}encoder.down.{i}.block.0.conv1.weight") for i in range(LEVELS)),
        "latent_channels": size(f"{VAE}post_quant_conv.weight"),
    }
    text = {
        "vocab_size": size(words),
        "hidden_size": size(words, 1),
        "intermediate_size": size(f"{layer}0.mlp.fc1.weight"),
        "num_hidden_layers": len({name[len(layer) :].split(".")[0] for name in state if name.startswith(layer)}),
        "num_attention_heads": size(words, 1) // CLIP_HEAD,
        "max_position_embeddings": size(f"{TEXT}text_model.embeddings.position_embedding.weight"),
    }
    return unet, vae, text


def _other_family(unet: dict, vae: dict, text: dict, words: int) -> list[str]:
    """Return what these settings have that no Stable Diffusion 1.x has."""
    width, channels = text["hidden_size"], (*unet["block_out_channels"], *vae["block_out_channels"])
    wrong = {
        f"widths {channels}, not all multiples of {GROUPS}": any(channel % GROUPS for channel in channels),
        f"a text encoder of width {width}, no multiple of {CLIP_HEAD}": width % CLIP_HEAD,
        f"a text encoder of {text['vocab_size']} tokens, not {words}": text["vocab_size"] != words,
    }
    return [problem for problem, is_so in wrong.items() if is_so] + family_problems(unet, vae, text)


def _empty_networks(
    state: Mapping[str, Tensor], tokenizer: CLIPTokenizer
) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """Return networks without memory for their weights."""
    try:
        unet, vae, text = _configs(state)
    except (KeyError, IndexError) as error:
        message = f"the checkpoint is no whole Stable Diffusion 1.x with its original (ldm) names; it lacks {error}"
        raise UserError(message) from error
    problems = _other_family(unet, vae, text, len(tokenizer))
    if problems:
        raise UserError("the checkpoint is no Stable Diffusion 1.x; it has", problems)
    with torch.device("meta"):
        text_encoder = CLIPTextModel(CLIPTextConfig(**text, **special_tokens(tokenizer)))
        return UNet2DConditionModel(**unet), AutoencoderKL(**vae), text_encoder


def _unet_weights(state: Mapping[str, Tensor], *, ema: bool) -> tuple[dict[str, Tensor], dict]:
    """Return the plain or the averaged weights under the plain names, and what to report of them."""
    plain = {name: value for name, value in state.items() if name.startswith(UNET)}
    averaged = {name: f"model_ema.{name.removeprefix('model.').replace('.', '')}" for name in plain}
    both = any(name in state for name in averaged.values())
    if ema and not both:
        raise UserError(
            "the checkpoint has no averaged weights of the UNet (model_ema.*)",
            ["take the plain ones, ema: false; in a file called emaonly these are the averaged ones"],
        )
    weights = {name: state[key] for name, key in averaged.items() if key in state} if ema else plain
    return weights, {"ema": ema if both else None, "both": both}


def write_stable_diffusion(state: Mapping[str, Tensor], out_dir: Path, *, ema: bool) -> dict:
    """Write a Stable Diffusion 1.x checkpoint with ldm names to out_dir in the diffusers layout, in its stored types.

    Returns {"ema", "both"}: whether the averaged weights of the UNet were taken, None when the file has one kind only
    and does not say which, and whether it has both kinds. Weights of a ControlNet in the file are passed over.

    Raises: UserError for another family of models, for averaged weights that are not there, and for every tensor that
    is missing, not expected, or of another shape.
    """
    state = without_wrappers(state)
    if any(name.startswith(("cond_stage_model.model.", "conditioner.")) for name in state):
        raise UserError("the checkpoint is a Stable Diffusion 2.x or XL: give one of Stable Diffusion 1.x, such as 1.5")
    tokenizer = clip_tokenizer()
    weights, report = _unet_weights(state, ema=ema)
    unet, vae, text_encoder = _empty_networks(state, tokenizer)

    def part(prefix: str) -> dict[str, Tensor]:
        names = [name for name in state if name.startswith(prefix) and not name.startswith(NOT_READ)]
        return {name: state[name] for name in names if not name.endswith(".position_ids")}

    bare = "final_layer_norm.weight" in text_encoder.state_dict()  # differs by the version of transformers
    text_prefix = "" if bare else "text_model."
    texts = {text_prefix + name.removeprefix(f"{TEXT}text_model."): value for name, value in part(TEXT).items()}
    vaes = convert(convert_ldm_vae_checkpoint, part(VAE), vae.config)
    filled = [
        (unet, convert(convert_ldm_unet_checkpoint, weights, unet.config), weights),
        (vae, vaes, part(VAE)),
        (text_encoder, texts, part(TEXT)),
    ]
    known = (UNET, VAE, TEXT, *NOT_READ)  # names without a dot are noise schedules
    problems = [f"unexpected: {name}" for name in state if "." in name and not name.startswith(known)]
    for network, converted, source in filled:
        problems += misfits(network.state_dict(), converted, source)
    refuse_misfits("the checkpoint is no Stable Diffusion 1.x", problems)
    for network, converted, _ in filled:
        network.load_state_dict({name: value.contiguous() for name, value in converted.items()}, assign=True)
    StableDiffusionPipeline(
        unet=unet, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=stable_diffusion_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(out_dir)  # fmt: skip
    return report


def write_base_from_file(cfg: SingleFileBase, out_dir: Path) -> None:
    """Write the base model of a single-file checkpoint to out_dir, with base.json.

    Raises: UserError when the file is missing, unreadable, or no whole Stable Diffusion 1.x.
    """
    path = Path(cfg.path).expanduser()
    report = write_stable_diffusion(read_checkpoint(path, cfg.sha256), out_dir, ema=cfg.ema)
    digest = sha256_tree(*(out_dir / part for part in PARTS))
    file = {"path": str(path), "file_sha256": sha256_file(path)}
    write_json(out_dir / "base.json", {**cfg.model_dump(), **file, **report, "sha256": digest})
