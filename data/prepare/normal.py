"""Images without a lesion: a pair set with empty masks beside the splits; none of val or a test set is among them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data.pairs.assemble import write_pair
from data.pairs.image_io import read_image, read_labels, write_mask
from data.pairs.manifest import Pair, class_names, complete, content, file_names, write_manifest
from data.pairs.prepared import POOL, TRAIN
from data.pairs.resize import resize_image
from data.pairs.seeds import item_seed
from data.prepare.config import FolderDataset, PhantomDataset, Style
from data.prepare.normal_config import Normal
from data.prepare.phantom_styles import draw_pair
from data.prepare.unlabelled import Labelled, Use, nearest_held_out, write_lone
from data.prepare.unlabelled_files import images_of
from data.readers.sources import Source

SPLIT = "normal"
KEY = "normal"  # of the row
USE = Use(KEY, "show no lesion", "leaves it out")
Drawn = tuple[Pair, np.ndarray]  # a row and its image, uint8 (size, size, 3)


def normal_sources(row: FolderDataset, problems: list[str], unused: list[str]) -> list[Source]:
    """Return the images of the folder that the row names, up to its limit; what is wrong goes to the two lists."""
    if not row.normal or row.normal.path is None:
        return []
    sources = images_of(row, f"{KEY}.path", row.normal.path, problems, unused)
    order = np.random.default_rng(item_seed("limit", row.seed, KEY)).permutation(len(sources))
    return [sources[place] for place in order[: row.normal.limit or len(sources)]]


def _from_folder(
    row: FolderDataset, sources: Sequence[Source], known: Labelled, folder: Path
) -> tuple[list[Pair], list[str]]:
    images, problems = write_lone(row, sources, known, folder, USE)
    pairs = []
    for image in images:
        files = (image.image, file_names(image.id)[1])
        pair = Pair(image.id, *files, SPLIT, "real", row.domain, native=image.native, box=image.box)
        write_mask(folder / pair.mask, np.zeros((row.size_px, row.size_px), np.uint8))
        pairs.append(complete(folder, pair))
    return pairs, problems


def _drawn(row: PhantomDataset, count: int) -> Iterator[Drawn]:
    for number in range(count):
        pair_id = f"{SPLIT}-{number:04d}"
        style: Style = "colour" if number % row.domains else "same"
        image, _ = draw_pair(row.look, style, row.seed, pair_id, row.size_px, lesion=False)
        domain = "phantom" if style == "same" else f"phantom-{style}"
        yield Pair(pair_id, *file_names(pair_id), SPLIT, "real", domain), image


def free_corners(lesion: np.ndarray, side: int) -> np.ndarray:
    """Return (N, 2), top and left of every square of this side in a mask (H, W) that holds no lesion."""
    sums = cv2.integral((lesion > 0).astype(np.uint8))
    return np.argwhere(sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side] == 0)


def _crops(row: Normal, seed: int, size_px: int, train: Sequence[Pair], folder: Path) -> Iterator[Drawn]:
    """Yield squares of training images, which take turns, each enlarged to the size of all images."""
    corners = {}
    for pair in train:
        lesion = content(pair, read_labels(folder / TRAIN / pair.mask, len(class_names(pair))))
        side = max(1, round(row.side * min(lesion.shape)))
        if len(free := free_corners(lesion, side)):
            corners[pair.id] = (pair, side, free)
    ids = [sorted(corners)[place] for place in np.random.default_rng(item_seed(seed, KEY)).permutation(len(corners))]
    for number in range(row.crops or 0) if ids else ():
        pair, side, free = corners[ids[number % len(ids)]]
        rng = np.random.default_rng(item_seed(seed, KEY, pair.id, number))
        top, left = free[int(rng.integers(len(free)))]
        image = content(pair, read_image(folder / TRAIN / pair.image))[top : top + side, left : left + side]
        pair_id = f"{pair.id}-{KEY}-{number}"
        made = Pair(pair_id, *file_names(pair_id), SPLIT, "real", pair.domain, pair.group, parent=pair.id)
        yield made, resize_image(np.ascontiguousarray(image), size_px, antialias=False)


def _made(row: FolderDataset | PhantomDataset, normal: Normal, train: Sequence[Pair], folder: Path) -> Iterator[Drawn]:
    if isinstance(row, PhantomDataset) and normal.count:
        return _drawn(row, normal.count)
    return _crops(normal, row.seed, row.size_px, train, folder)


def write_normal(
    row: FolderDataset | PhantomDataset, sources: Sequence[Source], train: Sequence[Pair], known: Labelled, folder: Path
) -> list[str]:
    """Write the images without a lesion that a row asks for to folder/pools/normal, and return what is wrong with them.

    `sources` are those of the row's folder, `train` the training pairs in folder/train, `known` the held-out pairs: an
    image that nearly equals one of these is a fault. Where a row asks for none the manifest has no rows.
    """
    pool = folder / POOL
    pairs: list[Pair] = []
    problems: list[str] = []
    if isinstance(row, FolderDataset) and row.normal and row.normal.path is not None:
        pairs, problems = _from_folder(row, sources, known, pool)
    elif row.normal:
        for pair, image in _made(row, row.normal, train, folder):
            pairs.append(write_pair(pool, pair, image, np.zeros(image.shape[:2], np.uint8)))
            if nearest := nearest_held_out(image, pairs[-1].image_sha256, known):
                held_out, likeness = nearest
                alike = f"{pair.id} and {held_out.split}/{held_out.id} are nearly the same (correlation {likeness:.4f})"
                problems.append(f"{KEY}: {alike}: give another seed or side")
        if not pairs:
            problems.append(
                f"{KEY}: crops: every square of side {row.normal.side:g} in the training images holds lesion: give a "
                "smaller side, or path, a folder of images without a lesion"
            )
    write_manifest(pool, pairs)
    return problems
