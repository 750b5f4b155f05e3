"""Peak memory of sampling 100 and 2,000 masks at toy width, each in a process of its own.

    python benchmarks/sampling/memory.py

The masks are prepared beforehand; what is measured is what the stage does with them: reading, denoising (2 steps at
64 px), writing images as they come, and the pair set with its manifest. The last line is JSON: `memory_ratio` is 2,000
to 100.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.processes import in_process

COUNTS = (100, 2000)


def prepare_masks(count: int, folder: Path) -> None:
    """Write so many masks."""
    from data.masks.config import RealMasks
    from data.masks.masks import write_masks
    from data.prepare.config import PhantomDataset
    from data.prepare.prepare import prepare

    row = PhantomDataset(kind="phantom", path="x", size_px=64, prompt="a polyp", train=count, test=4, seed=0)
    write_masks(prepare(row, folder / "data")["train"], "real", RealMasks(kind="real", copies=1), folder / "masks")


def sample(folder: Path) -> int:
    """Return the peak memory in bytes after sampling what `prepare_masks` has written."""
    import torch

    from benchmarks.networks.sd15 import ROW, build
    from data.pairs.assemble import write_synthetic
    from data.pairs.manifest import read_pairs
    from siamese.config.sections import SamplingConfig
    from siamese.method.checkpoint import Trained
    from siamese.sampling.sample import sample_images
    from siamese.sampling.sampler import latent_sampler

    nets, masks = build("toy"), read_pairs(folder / "masks/1")
    context = torch.zeros(2, 77, nets.unet.config.cross_attention_dim)
    trained = Trained(nets.controlled(), context, ROW)
    cfg = SamplingConfig(steps=2, guidance=2.0, batch=16, seed=0)
    sampler = latent_sampler(trained, nets.vae, nets.scheduler, cfg)
    sample_images(masks, sampler, cfg, folder / "images", {"generator": "random weights"})
    write_synthetic([masks], [folder / "images"], "synthetic", folder / "pairs")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure both counts and print what was found."""
    peaks = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            in_process("benchmarks.sampling.memory", f"prepare_masks({count}, Path('{folder}'))")
            peaks[count] = int(in_process("benchmarks.sampling.memory", f"sample(Path('{folder}'))"))
        sys.stdout.write(f"{count:5d} masks: {peaks[count] / 2**20:.0f} MiB\n")
    small, large = (peaks[count] for count in COUNTS)
    peaks_mib = {f"peak_mib_{count}": round(peak / 2**20) for count, peak in peaks.items()}
    sys.stdout.write(json.dumps({"memory_ratio": round(large / small, 4), **peaks_mib}) + "\n")


if __name__ == "__main__":
    main()
