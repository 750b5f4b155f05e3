"""The gradients of a step added up over two processes: one message a tensor beside one a bucket of 64 MB.

    python benchmarks/reduce.py [--width toy|quarter] [--rounds 5]

Two processes of gloo on this machine, the gradients of ControlNet and of the UNet's decoder in Stable Diffusion 1.5's
layout. The last line is JSON: medians of the rounds in seconds, and whether both ways give the same bits.
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


def _worker(args: argparse.Namespace) -> None:
    import torch
    import torch.distributed as distributed
    from torch._utils import _take_tensors

    from benchmarks.networks.sd15 import build
    from siamese.training.gradients import BUCKET_BYTES, sum_over_processes

    distributed.init_process_group("gloo")
    nets, rank = build(args.width), distributed.get_rank()
    rng = torch.Generator().manual_seed(rank)
    trained = [p for net in (nets.controlnet, nets.unet) for p in net.parameters() if p.requires_grad]
    drawn = [torch.randn(p.shape, generator=rng) for p in trained]

    def one_by_one(tensors: list[torch.Tensor]) -> None:
        for tensor in tensors:
            summed = tensor.clone()
            distributed.all_reduce(summed)
            tensor.copy_(summed)

    seconds: dict[str, list[float]] = {"one_by_one": [], "buckets": []}
    results = {}
    for _ in range(args.rounds):
        for name, way in (("one_by_one", one_by_one), ("buckets", sum_over_processes)):
            tensors = [tensor.clone() for tensor in drawn]
            distributed.barrier()
            start = time.perf_counter()
            way(tensors)
            seconds[name].append(time.perf_counter() - start)
            results[name] = tensors
    same = all(torch.equal(a, b) for a, b in zip(*results.values(), strict=True))
    if rank == 0:
        found = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
        messages = len(list(_take_tensors(drawn, BUCKET_BYTES)))
        found |= {"tensors": len(drawn), "messages": messages, "same_bits": same, "width": args.width}
        (args.folder / "found.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


def main() -> None:
    """Start two processes and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", choices=("toy", "quarter"), default="quarter")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        _worker(args)
        return
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        options = ["--width", args.width, "--rounds", str(args.rounds), "--folder", name]
        subprocess.run([*command, "-m", "benchmarks.reduce", *options], cwd=ROOT, check=True)
        sys.stdout.write((Path(name) / "found.json").read_text() + "\n")


if __name__ == "__main__":
    main()
