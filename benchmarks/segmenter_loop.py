"""How busy a segmenter's training keeps the device: the share of time spent waiting for batches.

    python benchmarks/segmenter_loop.py

256 phantoms at 96 px, a SegFormer and a SANet at toy width with augmentation and colour exchange, 2 epochs each.
Beside it the same batches made in the loop itself, without the thread that makes the next one ahead, and the time to
decode the set once against mapping it. The last line is JSON: `wait_share` of each network, `ahead_ratio` (batches in
the loop over batches ahead, of the whole time) and `decode_ratio` (decoding over mapping).
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIT = {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}
RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64), "stem_width": 8}
ROWS = {
    "segformer": {"encoder_args": MIT, "decoder_channels": (32,), "loss": "bce"},
    "sanet": {"encoder_args": RESNET, "decoder_channels": (16,), "loss": "bce_dice"},
}


def _seconds(real, none, row, folder: Path) -> tuple[float, float]:
    """Return the seconds of a training run, and those of them that it waited for batches."""
    from segmentation import batches
    from segmentation.train import train

    waits: list[batches.TrainingPairs] = []
    made = batches.TrainingPairs.__init__

    def remember(self, *arguments):
        made(self, *arguments)
        waits.append(self)

    batches.TrainingPairs.__init__ = remember  # type: ignore[method-assign]
    start = time.perf_counter()
    try:
        folder.mkdir()
        train(real, none, row, folder, seed=0)
    finally:
        batches.TrainingPairs.__init__ = made  # type: ignore[method-assign]
    return time.perf_counter() - start, waits[0].waited_s


class _InTheLoop:
    """An executor that computes only when the result is asked for."""

    def __init__(self, _threads: int) -> None: ...

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None: ...

    def submit(self, function, *arguments):
        return type("Later", (), {"result": staticmethod(lambda: function(*arguments))})


def main() -> None:
    """Measure both networks and print what was found."""
    sys.path.insert(0, str(ROOT))
    from data.pairs.config import PhantomDataset
    from data.pairs.manifest import PairSet
    from data.pairs.prepare import prepare
    from segmentation import batches
    from segmentation.config import ArchitectureRow
    from segmentation.inputs import load_pairs

    found: dict[str, object] = {"wait_share": {}, "ahead_ratio": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SIAMESE_WORK"] = str(folder / "work")
        phantom = PhantomDataset(kind="phantom", path="x", size_px=96, prompt="", train=256, test=4, seed=0)
        real, none = prepare(phantom, folder / "set")["train"], PairSet(folder / "none", ())
        common = {"input_px": 96, "epochs": 2, "batch": 16, "lr": 1e-3, "weight_decay": 0.0, "schedule": "constant"}
        common |= {"budget": "equal_epochs", "augment": {"flip": 0.5, "rotate90": 0.5, "hue": 0.1}}
        common |= {"colour_exchange": {"pools": {"*": 1.0}}}
        rows = {network: ArchitectureRow(network=network, **common, **row) for network, row in ROWS.items()}
        times = []
        for _ in range(2):
            start = time.perf_counter()
            load_pairs(real, rows["sanet"])
            times.append(time.perf_counter() - start)
        found["decode_ratio"] = round(times[0] / times[1], 1)
        for network, row in rows.items():
            _seconds(real, none, row, folder / f"{network}-warm")
            took, waited = _seconds(real, none, row, folder / f"{network}-ahead")
            executor, batches.ThreadPoolExecutor = batches.ThreadPoolExecutor, _InTheLoop  # type: ignore[misc,assignment]
            inside, _ = _seconds(real, none, row, folder / f"{network}-inside")
            batches.ThreadPoolExecutor = executor  # type: ignore[misc]
            found["wait_share"][network] = round(waited / took, 3)  # type: ignore[index]
            found["ahead_ratio"][network] = round(inside / took, 2)  # type: ignore[index]
            sys.stdout.write(f"{network}: {took:.1f} s, {waited:.2f} s waiting; batches in the loop {inside:.1f} s\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
