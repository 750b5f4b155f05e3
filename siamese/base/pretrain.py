"""A small base model, trained on images of one data set and saved in the diffusers layout.

It stands in for Stable Diffusion where none can be downloaded: the same classes, a VAE, a UNet, a CLIP text encoder
(with random frozen weights, since there is one prompt) and a byte-level CLIP tokenizer, so that the code after it is
the same.
"""

from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL

from data.pairs.files import sha256_tree, write_json
from data.pairs.seeds import item_seed
from data.pairs.training import accelerator
from siamese.base.autoencoder import normalise_latents, symmetric_latents, train_autoencoder
from siamese.base.denoiser import train_denoiser
from siamese.base.load import encode_prompts, stable_diffusion_scheduler
from siamese.base.text import write_small_text_encoder
from siamese.config.base import PretrainedHere

MODEL_INDEX = {  # how diffusers finds the parts
    "_class_name": "StableDiffusionPipeline",
    "vae": ["diffusers", "AutoencoderKL"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}


def pretrain(images: np.ndarray, prompt: str, cfg: PretrainedHere, out_dir: Path, work: Path) -> None:
    """Write a base model for images, uint8 (N, H, W, 3), to out_dir, going on from what a crash left in `work`.

    Raises: UserError when a loss or a weight is not finite, or when the package of the perceptual loss is missing.
    """
    every = cfg.checkpoint_steps
    if not (work / "vae" / "config.json").is_file():
        trained = train_autoencoder(images, cfg.vae, cfg.seed, every, work / "vae-steps")
        trained.save_pretrained(work / "vae.part")
        (work / "vae.part").rename(work / "vae")
    vae = AutoencoderKL.from_pretrained(work / "vae").eval().requires_grad_(False).to(accelerator().device)
    latents = normalise_latents(vae, symmetric_latents(vae, images))
    vae.register_to_config(_name_or_path="")
    vae.save_pretrained(out_dir / "vae")

    write_small_text_encoder(cfg.unet.context_dim, item_seed(cfg.seed, "text"), out_dir)
    scheduler = stable_diffusion_scheduler()
    scheduler.save_pretrained(out_dir / "scheduler")
    write_json(out_dir / "base.json", {"kind": "pretrain"})
    context = encode_prompts(out_dir, [prompt, ""])
    unet = train_denoiser(latents, context, cfg.unet, scheduler, cfg.seed, every, work / "unet-steps")
    unet.save_pretrained(out_dir / "unet")
    write_json(out_dir / "model_index.json", MODEL_INDEX)
    digest = sha256_tree(out_dir / "unet", out_dir / "vae", out_dir / "text_encoder")
    write_json(out_dir / "base.json", {"kind": "pretrain", "sha256": digest})
