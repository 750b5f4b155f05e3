"""How many planted copies of real images the copy audit finds, and how many fresh real images it takes for copies.

    python benchmarks/copy_audit.py FOLDER [REPEATS]

FOLDER holds train/ and test/, each with images/ and masks/, such as Kvasir-SEG. All images are pooled, resized to
128 px and dealt anew for each repeat: 58 % for training, 23 % held out, the rest fresh. Prints a Markdown table of
flagged shares, mean and standard deviation over the repeats.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SHARES = (0.58, 0.81)  # ends of the training and of the held-out part
SIZE_PX = 128
COPIES = 100


def _noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images + rng.normal(0, 8, images.shape))


def _recolour(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images * rng.choice([0.9, 1.1], (len(images), 1, 1, 3)))


def _tint(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images + rng.choice([-25.5, 25.5], (len(images), 1, 1, 3)))


def _blur(images: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    import cv2

    return np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in images])


def _crop(images: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    import cv2

    margin = SIZE_PX // 20
    return np.stack([cv2.resize(one[margin:-margin, margin:-margin], (SIZE_PX, SIZE_PX)) for one in images])


def _uint8(images: np.ndarray) -> np.ndarray:
    return images.clip(0, 255).round().astype(np.uint8)


PLANTED: dict[str, Change] = {
    "exact copy": lambda images, _: images,
    "noise, sd 8": _noise,
    "mirrored": lambda images, _: images[:, :, ::-1],
    "quarter turn": lambda images, _: np.rot90(images, 1, (1, 2)),
    "mirrored, noise": lambda images, rng: _noise(images[:, :, ::-1], rng),
    "recoloured: each channel times 0.9 or 1.1": _recolour,
    "tinted: each channel plus or minus 10 % of white": _tint,
    "blurred, sd 2 px": _blur,
    "moved by 5 %": lambda images, _: np.roll(images, SIZE_PX // 20, (1, 2)),
    "cropped by 5 % a side": _crop,
}
FRESH: dict[str, Change] = {"fresh image": lambda images, _: images, "fresh image, blurred": _blur}


def images_of(folder: Path) -> np.ndarray:
    """Return all images of both splits, uint8 (N, 128, 128, 3)."""
    from data.prepare.config import FolderDataset
    from data.prepare.prepare import prepare

    row = FolderDataset(
        kind="folder",
        path=str(folder),
        size_px=SIZE_PX,
        prompt="",
        antialias=True,
        splits={"train": "train", "test": "test"},
        allow_duplicates=("*",),
    )
    with tempfile.TemporaryDirectory() as out:
        return np.concatenate([pairs.images() for pairs in prepare(row, Path(out) / "prepared").values()])


def measure(images: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, float, float]]:
    """Return for each kind: flagged share, share closer to train than to holdout, self-retrieval; one dealing."""
    from evaluation.audit.copies import audit, thumbnails

    order = rng.permutation(len(images))
    train, holdout, fresh = np.split(images[order], [int(share * len(images)) for share in SHARES])
    picks = rng.choice(len(train), min(COPIES, len(train)), replace=False)
    sets = {kind: change(train[picks], rng) for kind, change in PLANTED.items()}
    sets |= {kind: change(fresh, rng) for kind, change in FRESH.items()}
    train_ids = [str(number) for number in range(len(train))]
    found = {}
    for kind, synthetic in sets.items():
        parents = [str(pick) for pick in picks] if kind in PLANTED else [train_ids[i % len(train)] for i in order]
        result = audit(
            *(thumbnails(one) for one in (train, holdout, synthetic)),
            train_ids=train_ids,
            parents=parents[: len(synthetic)],
        )
        found[kind] = (result.copy_rate, result.closer_to_train, result.self_retrieval)
    return found


def main() -> None:
    """Print the table."""
    images = images_of(Path(sys.argv[1]))
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    dealings = [measure(images, np.random.default_rng(seed)) for seed in range(repeats)]
    lines = [f"{len(images)} images, {repeats} dealings", ""]
    lines += ["| kind | flagged, % | closer to train, % | self-retrieval, % |", "|---|---|---|---|"]
    for kind in dealings[0]:
        columns = 100 * np.array([dealing[kind] for dealing in dealings]).T
        cells = [f"{one.mean():.1f} ± {one.std():.1f}" for one in columns]
        lines.append(f"| {' | '.join([kind, *cells])} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
