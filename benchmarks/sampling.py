"""Our sampler beside diffusers' StableDiffusionControlNetPipeline: time an image, and the difference of the images.

    python benchmarks/sampling.py [--width toy|quarter|full] [--size-px 256] [--batch 4] [--steps 20] [--device cpu]

The pipeline is called as its documentation calls it: prompts, PIL images as hints, guidance, one call a batch. Both get
the same weights, start noise, batch, steps, guidance and precision, and give decoded images. They take turns in one
process, and the fastest of their rounds counts. The last line is JSON: `time_ratio_equal_batch` is pipeline / ours,
`time_ratio_batch_1` is the pipeline called once an image / ours at the batch. Ours includes what siamese/attention.py
does for narrow heads on the CPU; --stock-attention leaves it out, and the full width has no narrow heads.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

from benchmarks.sd15 import ROW, WIDTHS, build
from siamese.attention import place
from siamese.checkpoint import Trained
from siamese.config import SamplingConfig
from siamese.denoise import denoise
from siamese.latent_sampler import decode_images, start_noise
from siamese.latents import mask_hints
from siamese.single_file import clip_tokenizer

PROMPT = "a photo of a polyp"


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
    pipeline = StableDiffusionControlNetPipeline(
        vae=theirs.vae, text_encoder=theirs.text, tokenizer=clip_tokenizer(), unet=theirs.unet,
        controlnet=theirs.controlnet.requires_grad_(False), scheduler=theirs.scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).to(device)  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    masks = np.zeros((args.batch, args.size_px, args.size_px), np.uint8)
    for number, mask in enumerate(masks):
        mask[20 + 5 * number : 90, 30 : 100 + 10 * number] = 1
    noise = start_noise(0, [str(i) for i in range(args.batch)], (4, args.size_px // 8, args.size_px // 8)).to(device)

    def run_pipeline(rows: slice) -> np.ndarray:
        hints = [Image.fromarray(mask * 255).convert("RGB") for mask in masks[rows]]
        return pipeline(
            [PROMPT] * len(hints), image=hints, latents=noise[rows], num_inference_steps=args.steps,
            guidance_scale=args.guidance, output_type="np",
        ).images  # fmt: skip

    context = torch.cat(pipeline.encode_prompt(PROMPT, device, 1, True)[:2])
    trained = Trained(ours.controlled(), context, {}, ROW)
    vae = ours.vae.to(device, memory_format=torch.channels_last)
    for network in trained.networks.all():
        network.to(device, memory_format=torch.channels_last)
        if not args.stock_attention:
            place(network, device)
    cfg = SamplingConfig(steps=args.steps, guidance=args.guidance, batch=args.batch, seed=0)

    def run_ours(rows: slice) -> np.ndarray:
        latents = denoise(trained, ours.scheduler, noise[rows], mask_hints(masks[rows], device), cfg)
        return torch.stack(list(decode_images(vae, latents))).numpy()

    whole, one = slice(0, args.batch), slice(0, 1)
    runs = {"ours": (run_ours, whole), "pipeline": (run_pipeline, whole), "pipeline_1": (run_pipeline, one)}
    images = {name: run(rows) for name, (run, rows) in runs.items()}  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, (run, rows) in runs.items():
            start = time.perf_counter()
            run(rows)
            seconds[name].append((time.perf_counter() - start) / len(images[name]))
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
