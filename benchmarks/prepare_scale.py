"""Peak memory of preparing 1,000 and 10,000 images, and the time of all cores against one, each in its own process.

    python benchmarks/prepare_scale.py

JPEG images of 512 x 384 px, each its own, with JPEG masks, resized to 256 px; hashes, manifest and the search for
duplicates included. The last line is JSON: `memory_ratio` is 10,000 to 1,000 images, `cores_ratio` is the time on one
core over the time on all, for 1,000 images.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import in_process

COUNTS = (1000, 10_000)


def draw(count: int, folder: Path) -> None:
    """Write so many JPEG pairs."""
    import cv2
    import numpy as np

    mask = cv2.ellipse(np.zeros((384, 512), np.uint8), (250, 190), (120, 80), 20, 0, 360, 255, -1)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for number in range(count):
        small = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        image = cv2.resize(small, (512, 384), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"images/{number:05d}.jpg"), image)
        cv2.imwrite(str(folder / f"masks/{number:05d}.jpg"), mask)


def prepare_on(folder: Path, cores: int) -> str:
    """Return the peak memory in bytes and the seconds of preparing what `draw` wrote, as JSON."""
    import os

    from data.pairs.config import FolderDataset
    from data.prepare.prepare import prepare

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    row = FolderDataset(kind="folder", path=str(folder), size_px=256, prompt="p", splits={"train": 0.8, "test": 0.2})
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        prepare(row, Path(out) / "prepared")
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return json.dumps([peak, seconds])


def main() -> None:
    """Measure both counts and print what was found."""
    measured = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            in_process("benchmarks.prepare_scale", f"draw({count}, Path('{folder}'))")
            for cores in (1, 64) if count == min(COUNTS) else (64,):
                result = in_process("benchmarks.prepare_scale", f"prepare_on(Path('{folder}'), {cores})")
                peak, seconds = measured[count, cores] = json.loads(result)
                name = "one core" if cores == 1 else "all cores"
                sys.stdout.write(f"{count:6d} images, {name}: {peak / 2**20:.0f} MiB, {seconds:.1f} s\n")
    memory = measured[max(COUNTS), 64][0] / measured[min(COUNTS), 64][0]
    cores = measured[min(COUNTS), 1][1] / measured[min(COUNTS), 64][1]
    sys.stdout.write(json.dumps({"memory_ratio": round(memory, 3), "cores_ratio": round(cores, 2)}) + "\n")


if __name__ == "__main__":
    main()
