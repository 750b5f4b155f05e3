"""Our training step beside the official one: time, peak memory, difference of the gradients.

    python benchmarks/step.py [--width toy|quarter|full] [--size-px 384] [--batch 4] [--precision fp32] [--device cpu]

The official step is the literal copy in tests/siamese/method/oracle.py: two networks copied at every step, passes
repeated, online augmentation of the whole batch if any sample is chosen, VAE and text encoder at every step. Ours reads
cached posteriors; the cost of that cache is added to our time, shared out over the steps of the paper's run (1,450
images, 3,000 steps of 48). Both run with the same weights, batches, optimiser, precision, threads and memory format, in
processes of their own, one after the other. Steps are spread evenly over the run, timesteps evenly over 0..999. Ours
includes what siamese/base/attention.py does for narrow heads on the CPU; --stock-attention leaves it out, and the full
width has no narrow heads. Memory is what the process reached beyond its imports (CPU), or what the allocator reached
(CUDA). The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


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

    from benchmarks.networks import training
    from benchmarks.networks.measuring import seconds_of
    from benchmarks.networks.sd15 import build

    device = torch.device(args.device)
    imports_kib = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    nets = build(args.width)
    narrow_heads = args.side == "ours" and not args.stock_attention
    training.place_networks(nets, device, narrow_heads=narrow_heads, checkpointing=args.checkpointing)
    pairs = training.draw_pairs(args.batch, args.size_px, args.steps, device)
    if args.side != "ours":
        nets.vae.to(device)
        nets.text.to(device)

    if args.side == "cache":
        latents = training.encode(nets, pairs, args.precision)
        seconds = seconds_of(lambda: training.encode(nets, pairs, args.precision), device)
        tensors = {name: tensor.cpu().contiguous() for name, tensor in latents.items()}
        save_file(tensors, args.folder / "cache.safetensors")
        return {"seconds": seconds}
    if args.side == "ours":
        cached = {name: tensor.to(device) for name, tensor in load_file(args.folder / "cache.safetensors").items()}
        nets = nets._replace(vae=None, text=None)
        step = training.ours(nets, pairs, cached, args.precision)
    else:
        step = training.official(nets, pairs, args.precision)
    named = training.trained_parameters(nets)
    optimizer = torch.optim.AdamW(named.values(), lr=1e-5, fused=True)

    def whole_step(index: int) -> None:
        step(training.number_of(index, args.steps), pairs.timesteps[index])
        optimizer.step()

    step(*training.some_augmented(args.batch))  # warms up
    save_file({k: p.grad.cpu().contiguous() for k, p in named.items()}, args.folder / f"{args.side}.safetensors")
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for index in range(args.steps):
        optimizer.zero_grad(set_to_none=True)
        seconds.append(seconds_of(lambda index=index: whole_step(index), device))
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

    from benchmarks.networks.training import relative_difference

    with safe_open(folder / "ours.safetensors", "pt") as a, safe_open(folder / "official.safetensors", "pt") as b:
        return relative_difference(b.keys(), a.get_tensor, b.get_tensor)


def main() -> None:
    """Run every side and print what was found."""
    from benchmarks.networks.training import CACHE_SHARE

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
