"""How many planted copies of real images the copy audit finds, and how many fresh real images it takes for copies.

    python benchmarks/copy_audit.py FOLDER|phantom [REPEATS]

FOLDER holds images/ and masks/, as PH2, or train/ and test/ with these, as Kvasir-SEG; `phantom` draws 400 images. All
are pooled, resized to 64 px and dealt anew for each repeat: 100 (at most half) for training, 60 % of the others held
out, the rest fresh. Prints a Markdown table of flagged shares, mean and standard deviation over the repeats.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SIZE_PX = 64
STEP_PX = round(0.05 * SIZE_PX)
TRAIN = 100
HELD_OUT = 0.6
COMPONENTS = 10


def _noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images + rng.normal(0, 8, images.shape))


def _recolour(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images * rng.choice([0.9, 1.1], (len(images), 1, 1, 3)))


def _tint(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _uint8(images + rng.choice([-25.5, 25.5], (len(images), 1, 1, 3)))


def _blur(sd: float, images: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    import cv2

    return np.stack([cv2.GaussianBlur(image, (0, 0), sd) for image in images])


def _faint(images: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    mean = images.mean((1, 2), keepdims=True)
    return _uint8(mean + 0.6 * (images - mean))


def _soft(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _faint(_blur(1.5, images, rng), rng)


def _moved(images: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Move down and to the left, with black where nothing comes in."""
    moved = np.zeros_like(images)
    moved[:, STEP_PX:, :-STEP_PX] = images[:, :-STEP_PX, STEP_PX:]
    return moved


def _crop(top: int, bottom: int, images: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    import cv2

    kept = images[:, top : SIZE_PX - bottom, top : SIZE_PX - bottom]
    return np.stack([cv2.resize(image, (SIZE_PX, SIZE_PX)) for image in kept])


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
    "contrast times 0.6": _faint,
    "blurred, sd 1 px": partial(_blur, 1),
    "blurred, sd 2 px": partial(_blur, 2),
    "blurred, sd 3 px": partial(_blur, 3),
    "blurred, sd 1.5 px, contrast times 0.6": _soft,
    "moved by 5 %, wrapped": lambda images, _: np.roll(images, STEP_PX, (1, 2)),
    "moved by 5 %, black edge": _moved,
    "moved by 3 %, wrapped": lambda images, _: np.roll(images, STEP_PX - 1, (1, 2)),
    "moved by 5 %, mirrored, blurred, sd 1 px": lambda images, rng: _blur(1, _moved(images, rng)[:, :, ::-1], rng),
    "cropped by 5 % a side": partial(_crop, STEP_PX, STEP_PX),
    "cropped by 10 % at two sides": partial(_crop, 2 * STEP_PX, 0),
    "cropped by 3 % a side, noise": lambda images, rng: _noise(_crop(STEP_PX - 1, STEP_PX - 1, images, rng), rng),
}
FRESH: dict[str, Change] = {
    "fresh image": lambda images, _: images,
    "fresh image, contrast times 0.6": _faint,
    "fresh image, blurred, sd 1 px": partial(_blur, 1),
    "fresh image, blurred, sd 2 px": partial(_blur, 2),
    "fresh image, blurred, sd 3 px": partial(_blur, 3),
    "fresh image, blurred, sd 1.5 px, contrast times 0.6": _soft,
}
GENERIC = f"fresh image, {COMPONENTS} principal components of the training images"


def components(images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return uint8 images as the mean training image and its first principal components can draw them: soft."""
    flat = train.reshape(len(train), -1).astype(np.float64)
    mean = flat.mean(0)
    directions = np.linalg.svd(flat - mean, full_matrices=False)[2][:COMPONENTS]
    weights = (images.reshape(len(images), -1) - mean) @ directions.T
    return _uint8(mean + weights @ directions).reshape(images.shape)


def images_of(source: str) -> np.ndarray:
    """Return all images of a folder, or drawn ones for `phantom`, uint8 (N, 64, 64, 3)."""
    from data.prepare.config import FolderDataset, PhantomDataset
    from data.prepare.prepare import prepare

    row: FolderDataset | PhantomDataset
    if source == "phantom":
        row = PhantomDataset(
            kind="phantom", path="data/prepare/phantom.py", size_px=SIZE_PX, prompt="", train=200, test=200, seed=0
        )
    else:
        dealt = (Path(source) / "train").is_dir()
        splits: dict[str, str | float] = {"train": "train", "test": "test"} if dealt else {"train": 0.7, "test": 0.3}
        row = FolderDataset(
            kind="folder",
            path=source,
            size_px=SIZE_PX,
            prompt="",
            antialias=True,
            splits=splits,
            allow_duplicates=("*",),
        )
    with tempfile.TemporaryDirectory() as out:
        return np.concatenate([pairs.images() for pairs in prepare(row, Path(out) / "prepared").values()])


def measure(images: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, ...]]:
    """Return for each kind: flagged share, share closer to train than to holdout, self-retrieval; one dealing."""
    from evaluation.audit.copies import audit
    from evaluation.audit.thumbnails import thumbnails

    order = rng.permutation(len(images))
    n_train = min(TRAIN, len(images) // 2)
    n_holdout = int(HELD_OUT * (len(images) - n_train))
    train, holdout, fresh = np.split(images[order], [n_train, n_train + n_holdout])
    sets = {kind: change(train, rng) for kind, change in PLANTED.items()}
    sets |= {kind: change(fresh, rng) for kind, change in FRESH.items()}
    sets[GENERIC] = components(fresh, train)
    train_ids = [str(number) for number in range(n_train)]
    strangers = [train_ids[i % n_train] for i in order[: len(fresh)]]
    parents = [parent for kind in sets for parent in (train_ids if kind in PLANTED else strangers)]
    everything = np.concatenate([*sets.values()])
    result = audit(*map(thumbnails, (train, holdout, everything)), train_ids=train_ids, parents=parents)
    if result.flagged is None:
        raise SystemExit(result.reason)
    figures = np.stack([result.flagged, result.closer, result.nearest_is_parent])
    columns = np.split(figures, np.cumsum([len(each) for each in sets.values()])[:-1], axis=1)
    return {kind: tuple(column.mean(1)) for kind, column in zip(sets, columns, strict=True)}


def main() -> None:
    """Print the table."""
    images = images_of(sys.argv[1])
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    started = time.process_time()
    dealings = [measure(images, np.random.default_rng(seed)) for seed in range(repeats)]
    seconds = time.process_time() - started
    lines = [f"{len(images)} images, {repeats} dealings, {seconds:.0f} CPU seconds", ""]
    lines += ["| kind | flagged, % | closer to train, % | self-retrieval, % |", "|---|---|---|---|"]
    for kind in dealings[0]:
        columns = 100 * np.array([dealing[kind] for dealing in dealings]).T
        cells = [f"{one.mean():.1f} ± {one.std():.1f}" for one in columns]
        lines.append(f"| {' | '.join([kind, *cells])} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
