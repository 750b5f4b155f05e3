"""From a data-set row to prepared pair sets, one folder a split."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.pairs.config import Dataset, FolderDataset, PhantomDataset
from data.pairs.duplicates import near_duplicates, thumbnail
from data.pairs.errors import UserError
from data.pairs.files import whole_folder
from data.pairs.image_io import BadImageError, resize_image, resize_mask, write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, read_pairs, write_manifest
from data.pairs.phantom import draw_phantom
from data.pairs.sources import Source, read_source
from data.pairs.splits import split_sources


def _write_pair(folder: Path, pair: Pair, image: np.ndarray, mask: np.ndarray) -> Pair:
    write_image(folder / pair.image, image)
    write_mask(folder / pair.mask, mask)
    return complete(folder, pair)


def _prepare_pair(row: FolderDataset, folder: Path, split: str, source: Source) -> tuple[Pair, np.ndarray] | str:
    """Return the written pair and the thumbnail of its image, or what is wrong with its files.

    The mask is made binary before it is resized, as in the official code (spec 1.4, row 18).
    """
    try:
        image, mask = read_source(source, row.mask_threshold)
    except BadImageError as error:
        return str(error)
    name = f"{source.id}.png"
    domain = source.domain or row.domain
    pair = Pair(source.id, f"images/{name}", f"masks/{name}", split, "real", domain, source.group)
    small = resize_image(image, row.size_px, antialias=row.antialias)
    return _write_pair(folder / split, pair, small, resize_mask(mask, row.size_px)), thumbnail(image)


def _leaks(pairs: list[Pair], thumbnails: list[np.ndarray], allowed: Iterable[str]) -> Iterator[str]:
    """Yield a line for every image that lies nearly the same in two splits, unless one of the two is allowed."""
    keys = [f"{pair.split}\0{pair.id}" for pair in pairs]
    for one, two, likeness in near_duplicates(keys, np.stack(thumbnails)):
        (split, name), (other, twin) = one.split("\0"), two.split("\0")
        if split != other and not {name, twin} & set(allowed):
            alike = f"{split}/{name} and {other}/{twin} are nearly the same image (correlation {likeness:.4f})"
            yield f"{alike}: remove one, or set allow_duplicates: [{twin}]"


def _prepare_folder(row: FolderDataset, folder: Path) -> Iterator[Pair]:
    """Yield the pairs, written to folder/<split>; all faults of all files are raised together at the end."""
    problems: list[str] = []
    splits = split_sources(row, problems)
    tasks = [(split, source) for split in splits for source in splits[split]]
    pairs, thumbnails = [], []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoding and encoding let go of Python's lock
        done = pool.map(lambda task: _prepare_pair(row, folder, *task), tasks)
        for result in tqdm(done, total=len(tasks), desc="prepare", unit="pair", mininterval=5):
            if isinstance(result, str):
                problems.append(result)
            else:
                pairs.append(result[0])
                thumbnails.append(result[1])
    if not problems:
        problems += _leaks(pairs, thumbnails, row.allow_duplicates)
    if problems:
        raise UserError(f"{row.path}: {len(problems)} problems; mend or remove these files, then run again", problems)
    yield from pairs


def _draw_phantoms(row: PhantomDataset, folder: Path) -> Iterator[Pair]:
    for split, count in (("train", row.train), ("test", row.test)):
        for number in range(count):
            pair_id = f"{split}-{number:04d}"
            pair = Pair(pair_id, f"images/{pair_id}.png", f"masks/{pair_id}.png", split, "real", "phantom")
            yield _write_pair(folder / split, pair, *draw_phantom(row.seed, pair_id, row.size_px))


def prepare(row: Dataset, out_dir: Path) -> dict[str, PairSet]:
    """Return the prepared pair sets by split and write them to out_dir/<split>; out_dir appears whole or not at all.

    Images are square PNGs of the row's size, masks are {0, 255}.

    Raises: UserError that names every unmatched, damaged, mis-sized or unsupported file at once, and every image that
    lies in two splits.
    """
    pairs: dict[str, list[Pair]] = {}
    with whole_folder(out_dir) as folder:
        made = _draw_phantoms(row, folder) if isinstance(row, PhantomDataset) else _prepare_folder(row, folder)
        for pair in made:
            pairs.setdefault(pair.split, []).append(pair)
        for split, rows in pairs.items():
            write_manifest(folder / split, rows)
    return {split: read_pairs(out_dir / split) for split in pairs}
