"""Our sampler beside diffusers' StableDiffusionControlNetPipeline: time an image, and the difference of the images.

    python benchmarks/sampling/beside_diffusers.py [--width toy|quarter|full] [--size-px 256] [--batch 4] [--steps 20]

The pipeline is called as its documentation calls it: prompts, PIL images as hints, guidance, one call a batch. Both get
the same weights, start noise, batch, steps, guidance and precision, and give decoded images. They take turns in one
process, and the fastest of their rounds counts. The last line is JSON: `time_ratio_equal_batch` is pipeline / ours,
`time_ratio_batch_1` is the pipeline called once an image / ours at the batch. Ours includes what
siamese/base/devices.py does for narrow heads on the CPU; --stock-attention leaves it out, and the full width has no
narrow heads.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image
from torch import Tensor

from benchmarks.networks.measuring import autocast, take_turns
from benchmarks.networks.sd15 import ROW, WIDTHS, Networks, build
from siamese.base.devices import place
from siamese.base.latents import mask_hints
from siamese.base.text import clip_tokenizer
from siamese.config.sections import SamplingConfig
from siamese.method.checkpoint import Trained
from siamese.sampling.sampler import decode_images, denoise, start_noise

PROMPT = "a photo of a polyp"
Sampler = Callable[[Tensor, np.ndarray], np.ndarray]  # noise (B, 4, h, w), masks (B, H, W) -> images (B, H, W, 3)


def draw_masks(batch: int, size_px: int) -> np.ndarray:
    """Return masks with one rectangle each, (B, H, W) of 0 and 1."""
    masks = np.zeros((batch, size_px, size_px), np.uint8)
    for number, mask in enumerate(masks):
        mask[20 + 5 * number : 90, 30 : 100 + 10 * number] = 1
    return masks


def draw_noise(batch: int, size_px: int, device: torch.device) -> Tensor:
    """Return the noise that images start from."""
    return start_noise(range(batch), (4, size_px // 8, size_px // 8)).to(device)


def build_pipeline(nets: Networks, device: torch.device, dtype: torch.dtype) -> StableDiffusionControlNetPipeline:
    """Return diffusers' pipeline with all weights in one precision, as its documentation loads it."""
    pipeline = StableDiffusionControlNetPipeline(
        vae=nets.vae, text_encoder=nets.text, tokenizer=clip_tokenizer(), unet=nets.unet,
        controlnet=nets.controlnet.requires_grad_(False), scheduler=nets.scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(device)  # fmt: skip
    if dtype != torch.float32:
        pipeline.to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def their_sampler(pipeline: StableDiffusionControlNetPipeline, cfg: SamplingConfig) -> Sampler:
    """Return the pipeline as its documentation calls it."""

    def run(noise: Tensor, masks: np.ndarray) -> np.ndarray:
        hints = [Image.fromarray(mask * 255).convert("RGB") for mask in masks]
        return pipeline(
            [PROMPT] * len(hints), image=hints, latents=noise.to(pipeline.dtype), num_inference_steps=cfg.steps,
            guidance_scale=cfg.guidance, output_type="np",
        ).images  # fmt: skip

    return run


def our_sampler(
    nets: Networks,
    context: Tensor,
    cfg: SamplingConfig,
    device: torch.device,
    precision: str = "fp32",
    *,
    narrow_heads: bool = True,
) -> Sampler:
    """Return our sampler as the stages call it; context (2, 77, D) are the embeddings of the prompt and of none."""
    trained = Trained(nets.controlled(), context, ROW)
    nets.vae.to(device, memory_format=torch.channels_last)
    for network in trained.networks.all():
        network.to(device, memory_format=torch.channels_last)
        if narrow_heads:
            place(network, device)

    def run(noise: Tensor, masks: np.ndarray) -> np.ndarray:
        with autocast(device, precision):
            latents = denoise(trained, nets.scheduler, noise, mask_hints(masks, device), cfg)
        return torch.stack(list(decode_images(nets.vae, latents.float()))).numpy()

    return run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", choices=tuple(WIDTHS), default="quarter")
    parser.add_argument("--hint", choices=("hi", "dhi"), default="dhi")
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=9.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stock-attention", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def main() -> None:
    """Run both and print what was found."""
    args = _arguments()
    device = torch.device(args.device)
    theirs, ours = build(args.width, args.hint), build(args.width, args.hint)
    pipeline = build_pipeline(theirs, device, torch.float32)
    context = torch.cat(pipeline.encode_prompt(PROMPT, device, 1, True)[:2])
    cfg = SamplingConfig(steps=args.steps, guidance=args.guidance, batch=args.batch, seed=0)
    our_run = our_sampler(ours, context, cfg, device, narrow_heads=not args.stock_attention)
    their_run = their_sampler(pipeline, cfg)
    masks, noise = draw_masks(args.batch, args.size_px), draw_noise(args.batch, args.size_px, device)
    runs = {
        "ours": lambda: our_run(noise, masks),
        "pipeline": lambda: their_run(noise, masks),
        "pipeline_1": lambda: their_run(noise[:1], masks[:1]),
    }
    images = {name: run() for name, run in runs.items()}  # warms up
    seconds = {
        name: [value / len(images[name]) for value in values]
        for name, values in take_turns(runs, args.rounds, device).items()
    }
    for name, values in seconds.items():
        sys.stdout.write(f"{name:11s} {min(values):8.3f} s an image ({' '.join(f'{v:.3f}' for v in values)})\n")
    best = {name: min(values) for name, values in seconds.items()}
    result = {
        "time_ratio_equal_batch": round(best["pipeline"] / best["ours"], 3),
        "time_ratio_batch_1": round(best["pipeline_1"] / best["ours"], 3),
        "max_abs_diff": float(np.abs(images["ours"] - images["pipeline"]).max()),
        **vars(args),
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
