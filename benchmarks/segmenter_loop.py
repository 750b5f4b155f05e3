"""How busy a segmenter's training keeps the device: the share of time spent waiting for batches.

    python benchmarks/segmenter_loop.py

256 phantoms at 96 px, a SegFormer and a SANet at toy width with augmentation and colour exchange, 2 epochs each.
Batches are made in turn, as on the CPU, and ahead by a thread, as for a GPU; the set is decoded once and then mapped.
The last line is JSON: `wait_share` of the time spent on batches, `ahead_ratio` (time in turn over time ahead) and
`decode_ratio` (decoding over mapping).
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


def _seconds(real, none, row, folder: Path, *, ahead: bool) -> tuple[float, float]:
    """Return the seconds of a training run, and those of them that it waited for batches."""
    from segmentation.training import train

    made = []

    class Watched(train.TrainingPairs):
        def __init__(self, *arguments, **_options) -> None:
            super().__init__(*arguments, ahead=ahead)
            made.append(self)

    original, train.TrainingPairs = train.TrainingPairs, Watched  # type: ignore[misc]
    folder.mkdir()
    start = time.perf_counter()
    try:
        train.train(real, none, row, folder, seed=0)
    finally:
        train.TrainingPairs = original  # type: ignore[misc]
    return time.perf_counter() - start, made[0].waited_s


def main() -> None:
    """Measure both networks and print what was found."""
    sys.path.insert(0, str(ROOT))
    from data.pairs.manifest import PairSet
    from data.prepare.config import PhantomDataset
    from data.prepare.prepare import prepare
    from segmentation.config.architectures import ArchitectureRow
    from segmentation.inference.inputs import load_pairs

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
            _seconds(real, none, row, folder / f"{network}-warm", ahead=False)
            times = {a: _seconds(real, none, row, folder / f"{network}-{a}", ahead=a) for a in (False, True)}
            (turn, made), (ahead, waited) = times[False], times[True]
            found["wait_share"][network] = {"in_turn": round(made / turn, 3), "ahead": round(waited / ahead, 3)}  # type: ignore[index]
            found["ahead_ratio"][network] = round(turn / ahead, 2)  # type: ignore[index]
            sys.stdout.write(
                f"{network}: in turn {turn:.1f} s ({made:.2f} s for batches), ahead {ahead:.1f} s "
                f"({waited:.2f} s waiting)\n"
            )
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
