"""What is to be seen of a drawn pair: where the judge finds the lesion, and the training image nearest to it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.drawing import enlarged, enlarged_mask, evenly, line, outlined
from data.pairs.errors import UserError
from data.pairs.manifest import MANIFEST, Pair, PairSet, content, read_pairs
from data.pairs.parallel import threaded
from data.pairs.prepared import TRAIN, Prepared
from evaluation.audit.copies import SMALLEST_HOLDOUT, to_nearest
from evaluation.audit.mask_fidelity import dice, judged
from evaluation.audit.thumbnails import thumbnails
from evaluation.figures.sheets import turned_like
from pipeline.params import paths
from segmentation.config.architectures import WEIGHTS
from segmentation.inference.predict import Segmenter, load_segmenter

CELL_PX = (256, 512)  # smaller images are enlarged to the first, larger ones reduced to the second
HELD_OUT = 100  # images that say how far from the training images a real one lies
JUDGE = "The judge, a segmenter trained on real pairs,"


class Look(NamedTuple):
    """A picture with what it shows in words; without one, the words say why."""

    picture: np.ndarray | None  # uint8 (H, W, 3)
    text: str


class Training(NamedTuple):
    """The training images of a data set, and how far held-out real ones lie from them."""

    pairs: PairSet
    thumbnails: np.ndarray
    held_out: np.ndarray  # distances, of none where there is no test set


def _cell_px(image: np.ndarray) -> int:
    return int(np.clip(image.shape[0], *CELL_PX))


@functools.lru_cache(maxsize=1)
def _judge(folder: Path, written: int) -> Segmenter:
    return load_segmenter(folder)


def outlines(pairs: PairSet, project: Path, dataset: str) -> Look:
    """Return the image with the outline of its mask in cyan and, where a judge is trained, of what it finds in yellow.

    Raises: UserError when the judge is damaged.
    """
    (pair,) = pairs.pairs
    image, mask = pairs.image(pair), pairs.mask(pair)
    cell_px = _cell_px(image)
    picture = outlined(enlarged(image, cell_px), enlarged_mask(mask, cell_px), line("mask"))
    folder = project / paths.judge(dataset)
    if not (folder / WEIGHTS).is_file():
        return Look(picture, f"No judge of {dataset} is trained: dvc repro judge@{dataset} trains one.")
    found = judged(_judge(folder, (folder / WEIGHTS).stat().st_mtime_ns), image[None], [pair])[0]
    agreement = float(dice(found[None], mask[None])[0])
    if not found.any():
        return Look(picture, f"{JUDGE} finds no lesion.")
    picture = outlined(picture, enlarged_mask(found.astype(np.uint8), cell_px), line("prediction"))
    return Look(picture, f"{JUDGE} agrees with the mask to a Dice of {agreement:.2f}.")


def _thumbnails(pairs: PairSet, rows: Sequence[Pair]) -> np.ndarray:
    read = threaded(lambda pair: content(pair, pairs.image(pair)), rows, title=pairs.folder.name, unit="image")
    return np.concatenate([thumbnails([image]) for image in read])


@functools.lru_cache(maxsize=1)
def _training(folder: Path, written: int) -> Training:
    train, tests = read_pairs(folder / TRAIN), set(Prepared(folder).names()) - {TRAIN}
    small, distances = _thumbnails(train, train.pairs), np.empty(0)
    if tests:
        held_out = read_pairs(folder / Prepared(folder).test_names()[0])
        distances, _ = to_nearest(_thumbnails(held_out, evenly(held_out.pairs, HELD_OUT)), small)
    return Training(train, small, distances)


def nearest(pairs: PairSet, project: Path, dataset: str) -> Look:
    """Return the training image nearest to the synthetic one, turned and mirrored as it fits best, and its distance.

    The distance is that of the copy audit (evaluation/audit/copies.py): 0 for a copy; a tenth of them lie within 1.

    Raises: UserError when training images are damaged.
    """
    folder = project / paths.processed(dataset)
    if not (folder / TRAIN / MANIFEST).is_file():
        return Look(None, f"The training images of {dataset} are not here: dvc repro prepare@{dataset} prepares them.")
    training = _training(folder, (folder / TRAIN / MANIFEST).stat().st_mtime_ns)
    (pair,) = pairs.pairs
    image = content(pair, pairs.image(pair))
    (distance,), (place,) = to_nearest(thumbnails([image]), training.thumbnails)
    original = training.pairs.pairs[place]
    beside = turned_like(content(original, training.pairs.image(original)), image)
    text = f"{original.id} at a distance of {distance:.2f} (0: a copy). {_usual(distance, training.held_out)}"
    return Look(enlarged(beside, _cell_px(beside)), text.strip())


def _usual(distance: float, held_out: np.ndarray) -> str:
    """Return how far from the training images real ones lie that nothing was trained on."""
    if len(held_out) < SMALLEST_HOLDOUT:
        return ""
    least, low, high = np.quantile(held_out, (0, 0.25, 0.75))
    text = f"Half of {len(held_out)} held-out real images lie at {low:.2f} to {high:.2f}, the nearest at {least:.2f}"
    return f"{text}: this one lies nearer than all of them." if distance < least else f"{text}."


def looks(pairs: PairSet, project: Path, dataset: str) -> dict[str, Look]:
    """Return both looks by name; what cannot be read says so in its place, since the pair itself is made."""
    found = {}
    for name, look in (("outlines", outlines), ("nearest", nearest)):
        try:
            found[name] = look(pairs, project, dataset)
        except UserError as error:
            found[name] = Look(None, str(error))
    return found
