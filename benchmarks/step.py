"""Our training step beside the official one: time, peak memory, difference of the gradients.

    python benchmarks/step.py [--width toy|quarter|full] [--size-px 384] [--batch 4] [--precision fp32] [--device cpu]

The official step is the literal copy in tests/siamese/oracle.py: two networks copied at every step, passes repeated,
online augmentation of the whole batch if any sample is chosen, VAE and text encoder at every step. Ours reads cached
posteriors; the cost of that cache is added to our time, shared out over the steps of the paper's run (1,450 images,
3,000 steps of 48). Both run with the same weights, batches, optimiser, precision, threads and memory format, in
processes of their own, one after the other. Steps are spread evenly over the run, timesteps evenly over
0..999. Ours includes what siamese/attention.py does for narrow heads on the CPU; --stock-attention leaves it out, and
the full width has no narrow heads. Memory is what the process reached beyond its imports (CPU), or what the allocator
reached (CUDA). The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUM_STEPS = 3000
CACHE_SHARE = 1450 / (NUM_STEPS * 48)  # how often a training image is encoded, per time that it is used


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", choices=("toy", "quarter", "full"), default="quarter")
    parser.add_argument("--size-px", type=int, default=384)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing on both sides")
    parser.add_argument("--stock-attention", action="store_true", help="ours without its attention layout on the CPU")
    parser.add_argument("--side", choices=("cache", "ours", "official"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _side(args: argparse.Namespace) -> dict:
    """Run one side in this process and return what it measured."""
    import resource

    import torch
    from safetensors.torch import load_file, save_file

    from benchmarks.sd15 import build
    from siamese.attention import place
    from siamese.config import SiameseRow
    from siamese.control import decoder_modules
    from siamese.step import Batch, siamese_step
    from siamese.weights import loss_weights
    from tests.siamese.oracle import official_step

    device = torch.device(args.device)
    imports_kib = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    nets = build(args.width)
    vae, text = nets.vae.to(device), nets.text.to(device)
    unet, controlnet = nets.unet, nets.controlnet
    for network in (unet, controlnet):
        network.to(device, memory_format=torch.channels_last)
        if args.side == "ours" and not args.stock_attention:
            place(network, device)
    if args.checkpointing:
        unet.enable_gradient_checkpointing()
        controlnet.enable_gradient_checkpointing()
    alphas = nets.scheduler.alphas_cumprod.to(device)
    rng = torch.Generator().manual_seed(0)
    images = torch.rand((args.batch, 3, args.size_px, args.size_px), generator=rng).to(device)
    masks = (images[:, :1] > 0.5).float().expand(-1, 3, -1, -1)
    hints = [hint.contiguous(memory_format=torch.channels_last) for hint in (masks, images)]
    tokens = torch.randint(0, 1000, (args.batch, 77), generator=rng).to(device)
    autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")

    def encode() -> dict[str, torch.Tensor]:
        with torch.inference_mode(), autocast:
            posterior = vae.encode(images * 2 - 1).latent_dist
            return {"mean": posterior.mean.float(), "std": posterior.std.float(), "context": text(tokens)[0].float()}

    def now() -> float:
        if args.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    if args.side == "cache":
        encode()
        start = now()
        cached = encode()
        seconds = now() - start
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in cached.items()}, args.folder / "cache.safetensors"
        )
        return {"seconds": seconds}
    if args.side == "ours":
        cached = {name: tensor.to(device) for name, tensor in load_file(args.folder / "cache.safetensors").items()}
        del vae, text, nets

    def step(number: int, timesteps: torch.Tensor) -> None:
        latents = encode() if args.side == "official" else cached
        draw = torch.Generator().manual_seed(number)
        z_noise, noise = (torch.randn(latents["mean"].shape, generator=draw).to(device) for _ in range(2))
        clean = 0.18215 * (latents["mean"] + latents["std"] * z_noise)
        sigmas = (1 - alphas[timesteps]).sqrt()
        noisy = alphas[timesteps].sqrt().view(-1, 1, 1, 1) * clean + sigmas.view(-1, 1, 1, 1) * noise
        batch = Batch(noisy, timesteps, sigmas, noise, latents["context"].clone(), *hints)
        with autocast:
            if args.side == "official":
                official_step(controlnet, unet, batch, step=number, num_steps=NUM_STEPS)
            else:
                weights = loss_weights(number, NUM_STEPS, timesteps, switches)
                siamese_step(controlnet, unet, batch, weights, 1 / args.batch)

    switches = SiameseRow(method="siamese", hint="dhi", hint_widths=(16, 32, 64)).switches
    named = {f"controlnet.{name}": p for name, p in controlnet.named_parameters()}
    named |= {f"{k}.{name}": p for k, m in decoder_modules(unet).items() for name, p in m.named_parameters()}
    optimizer = torch.optim.AdamW(named.values(), lr=1e-5, fused=True)
    total = args.batch * args.steps
    order = torch.randperm(total, generator=rng)
    spread = ((torch.arange(total)[order] + 0.5) / total * 1000).long().view(args.steps, args.batch).to(device)

    step(NUM_STEPS - 1, torch.linspace(50, 950, args.batch).long().to(device))  # warms up; some are augmented
    save_file({k: p.grad.cpu().contiguous() for k, p in named.items()}, args.folder / f"{args.side}.safetensors")
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for index in range(args.steps):
        optimizer.zero_grad(set_to_none=True)
        start = now()
        step(int((index + 0.5) / args.steps * NUM_STEPS), spread[index])
        optimizer.step()
        seconds.append(now() - start)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imports_kib
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else peak_kib * 1024
    return {"seconds": seconds, "peak_bytes": peak, "threads": torch.get_num_threads()}


def _run(args: argparse.Namespace, side: str, folder: Path) -> dict:
    options = ["--width", args.width, "--size-px", args.size_px, "--batch", args.batch, "--steps", args.steps]
    options += ["--precision", args.precision, "--device", args.device, "--side", side, "--folder", folder]
    options += ["--checkpointing"] * args.checkpointing + ["--stock-attention"] * args.stock_attention
    command = [sys.executable, "-m", "benchmarks.step", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _gradient_difference(folder: Path) -> float:
    """Return |ours - official| / |official| over all trained parameters."""
    from safetensors import safe_open

    difference = size = 0.0
    with safe_open(folder / "ours.safetensors", "pt") as a, safe_open(folder / "official.safetensors", "pt") as b:
        for name in b.keys():  # noqa: SIM118 - not a dict
            theirs = b.get_tensor(name).double()
            difference += float((a.get_tensor(name).double() - theirs).square().sum())
            size += float(theirs.square().sum())
    return (difference / size) ** 0.5


def main() -> None:
    """Run every side and print what was found."""
    args = _arguments()
    write = sys.stdout.write
    if args.side:
        write(json.dumps(_side(args)) + "\n")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = {side: _run(args, side, folder) for side in ("cache", "ours", "official")}
        difference = _gradient_difference(folder)
    ours, official = sides["ours"], sides["official"]
    cache = sides["cache"]["seconds"] * CACHE_SHARE
    means = {"ours": statistics.mean(ours["seconds"]) + cache, "official": statistics.mean(official["seconds"])}
    for side, result in (("ours", ours), ("official", official)):
        steps = " ".join(f"{value:.2f}" for value in result["seconds"])
        write(f"{side:9s} {means[side]:8.3f} s a step ({steps}), peak {result['peak_bytes'] / 2**20:8.0f} MiB\n")
    write(f"our share of the cache: {cache:.3f} s a step\n")
    result = {
        "time_ratio": round(means["official"] / means["ours"], 3),
        "memory_ratio": round(ours["peak_bytes"] / official["peak_bytes"], 3),
        "grad_rel_diff": difference,
        **{key: getattr(args, key) for key in ("width", "size_px", "batch", "precision", "device", "checkpointing")},
        "stock_attention": args.stock_attention,
        "threads": ours["threads"],
    }
    write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
