"""From a data-set row to prepared pair sets, one folder a split."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.pairs.config import Dataset, FolderDataset, PhantomDataset
from data.pairs.errors import UserError
from data.pairs.files import whole_folder
from data.pairs.folder import Source, find_pairs
from data.pairs.image_io import (
    BadImageError,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
    write_image,
    write_mask,
)
from data.pairs.manifest import Pair, PairSet, complete, read_pairs, write_manifest
from data.pairs.phantom import draw_phantom
from data.pairs.seeds import item_seed


def _shuffled(sources: list[Source], *parts: int | str) -> list[Source]:
    return [sources[i] for i in np.random.default_rng(item_seed(*parts)).permutation(len(sources))]


def _split_sources(row: FolderDataset, problems: list[str]) -> dict[str, list[Source]]:
    """Return split -> pairs, by sub-folder or by seeded shares, cut to the row's limits."""
    root = Path(row.path)
    if all(isinstance(value, str) for value in row.splits.values()):
        splits = {split: find_pairs(root / str(folder), problems) for split, folder in row.splits.items()}
    else:
        pool = _shuffled(find_pairs(root, problems), "split", row.seed)
        ends = np.round(np.cumsum([float(share) for share in row.splits.values()]) * len(pool)).astype(int)
        starts = [0, *ends[:-1]]
        splits = {split: pool[start:end] for split, start, end in zip(row.splits, starts, ends, strict=True)}
    for split, most in row.limit.items():
        splits[split] = _shuffled(splits[split], "limit", row.seed, split)[:most]
    problems += [f"split {split}: no pairs are left for it" for split, pairs in splits.items() if not pairs]
    return splits


def _read_folder(row: FolderDataset) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield split, id, image and mask at the prepared size; all faults of all files are raised together at the end.

    The mask is made binary before it is resized, as in the official code (spec 1.4, row 18).
    """
    problems: list[str] = []
    splits = _split_sources(row, problems)
    todo = [(split, source) for split in splits for source in sorted(splits[split], key=lambda s: s.id)]
    for split, source in tqdm(todo, desc="prepare", unit="pair", mininterval=5):
        arrays = []
        for path in (source.image, source.mask):
            try:
                arrays.append(read_image(path) if path is source.image else read_mask(path, row.mask_threshold))
            except BadImageError as error:
                problems.append(f"{path}: {error}")
        if len(arrays) == 2 and arrays[0].shape[:2] != arrays[1].shape:
            image_size, mask_size = (f"{array.shape[1]}x{array.shape[0]}" for array in arrays)
            problems.append(f"{source.image}: is {image_size} but its mask {source.mask.name} is {mask_size}")
        elif len(arrays) == 2 and not problems:
            image = resize_image(arrays[0], row.size_px, antialias=row.antialias)
            yield split, source.id, image, resize_mask(arrays[1], row.size_px)
    if problems:
        raise UserError(f"{row.path}: {len(problems)} problems; mend or remove these files, then run again", problems)


def _draw_phantoms(row: PhantomDataset) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    for split, count in (("train", row.train), ("test", row.test)):
        for number in range(count):
            pair_id = f"{split}-{number:04d}"
            yield split, pair_id, *draw_phantom(row.seed, pair_id, row.size_px)


def prepare(row: Dataset, out_dir: Path) -> dict[str, PairSet]:
    """Return the prepared pair sets by split and write them to out_dir/<split>; out_dir appears whole or not at all.

    Images are square PNGs of the row's size, masks are {0, 255}.

    Raises: UserError that names every unmatched, damaged, mis-sized or unsupported file at once.
    """
    if isinstance(row, PhantomDataset):
        source, domain = _draw_phantoms(row), "phantom"
    else:
        source, domain = _read_folder(row), row.domain
    pairs: dict[str, list[Pair]] = {}
    with whole_folder(out_dir) as folder:
        for split, pair_id, image, mask in source:
            pair = Pair(pair_id, f"images/{pair_id}.png", f"masks/{pair_id}.png", split, "real", domain)
            write_image(folder / split / pair.image, image)
            write_mask(folder / split / pair.mask, mask)
            pairs.setdefault(split, []).append(complete(folder / split, pair))
        for split, rows in pairs.items():
            write_manifest(folder / split, rows)
    return {split: read_pairs(out_dir / split) for split in pairs}
