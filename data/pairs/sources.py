"""Pairs as their owner keeps them: which files belong together, and how one pair is read."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from data.pairs.arrays import array_names, array_of
from data.pairs.image_io import (
    IMAGE_SUFFIXES,
    MASK_THRESHOLD,
    BadImageError,
    labels_of_values,
    read_classes,
    read_image,
    read_mask,
)

# BUSI counts the masks of one image: (3)_mask, (3)_mask_1
MASK_SUFFIX = re.compile(
    r"[_-](mask|segmentation|lesion|label|labels|anno|annotation|gt|seg)([_-]?\d+)?$", re.IGNORECASE
)
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg")  # the best of several copies first


@dataclass(frozen=True)
class Source:
    """One pair as the user keeps it: files, and what their place in the layout says."""

    id: str
    image: Path
    masks: tuple[Path, ...]  # several are merged by OR
    split: str = ""  # as the layout has it: train, val, test or the name of a test set; empty when it has none
    domain: str = ""
    group: str = ""  # what must stay together: a patient, a video, a sequence
    prompt: str = ""
    index: int = -1  # row in an array file such as .npz; -1 for picture files
    channels: tuple[Path, ...] = ()  # further files of the image, each of one channel: green and blue


@dataclass(frozen=True)
class Found:
    """What was recognised in a folder."""

    layout: str
    sources: tuple[Source, ...]  # sorted by split, then id
    unmatched: tuple[str, ...]  # one line a file without a partner, or whose partner is not clear
    mask_threshold: int = MASK_THRESHOLD  # 0 where the layout has labels 0, 1, 2, ...
    classes: Mapping[str, int] = field(default_factory=dict)  # name -> label, where the layout says of several
    notes: tuple[str, ...] = ()  # what was left out on purpose


def pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder, sorted, without hidden ones."""
    files = (path for path in folder.iterdir() if path.is_file())
    return sorted(p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _images_by_stem(files: Iterable[Path], unmatched: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            unmatched.append(f"{path}: shares its stem '{path.stem}' with {found[path.stem].name}; keep one of them")
        else:
            found[path.stem] = path
    return found


def _masks_by_stem(files: Iterable[Path], stems: set[str], unmatched: list[str]) -> dict[str, list[Path]]:
    """Return stem of the image -> its masks: the same stem, or that stem with a suffix such as _mask or _mask_2.

    Where one mask lies there in two formats, the one that cannot have lost anything is taken.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(files, key=lambda path: (LOSSLESS.index(path.suffix.lower()), path.name)):
        stem = path.stem if path.stem in stems else MASK_SUFFIX.sub("", path.stem)
        kept = found.setdefault(stem, {})
        if path.stem in kept:
            if kept[path.stem].suffix.lower() not in LOSSLESS[:4] or path.suffix.lower() in LOSSLESS[:4]:
                other = kept[path.stem].name
                unmatched.append(f"{path}: shares its stem '{path.stem}' with {other}; keep one of them")
        else:
            kept[path.stem] = path
    return {stem: sorted(kept.values()) for stem, kept in found.items()}


def match(
    images: Iterable[Path], masks: Iterable[Path], unmatched: list[str], *, split: str = "", domain: str = ""
) -> list[Source]:
    """Return the pairs of two lists of files by their stems; what has no partner is appended to `unmatched`."""
    by_stem = _images_by_stem(images, unmatched)
    mask_files = _masks_by_stem(masks, set(by_stem), unmatched)
    unmatched += [f"{by_stem[stem]}: has no mask" for stem in sorted(set(by_stem) - set(mask_files))]
    for stem in sorted(set(mask_files) - set(by_stem)):
        unmatched += [f"{path}: has no image" for path in mask_files[stem]]
    both = sorted(set(by_stem) & set(mask_files))
    return [Source(stem, by_stem[stem], tuple(mask_files[stem]), split, domain) for stem in both]


Value = int | tuple[int, int, int]


def _read_channels(source: Source) -> np.ndarray:
    """Return uint8 (H, W, 3) of an image in one file, or in one for each channel."""
    image = _named(source.image, read_image)
    if not source.channels:
        return image
    planes = [image, *(_named(path, read_image) for path in source.channels)]
    if len({plane.shape for plane in planes}) > 1:
        raise BadImageError(f"{source.image}: its channels differ in size")
    return np.stack([plane[..., 0] for plane in planes], axis=-1)


def _named(path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    try:
        return read(path)
    except BadImageError as error:
        raise BadImageError(f"{path}: {error}") from error


def read_source(
    source: Source, threshold: int = MASK_THRESHOLD, classes: Sequence[Value] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, uint8 (H, W, 3), and the mask, uint8 (H, W).

    Without `classes` the mask is in {0, 1}: any of its files is above `threshold`. With them it is k + 1 where a file
    has the value classes[k], a grey or an RGB colour; where files overlap, the later class counts.

    Raises: BadImageError with the file's name, for a file that cannot be read or sizes that differ.
    """
    if source.index >= 0:
        return read_array_source(source, classes)
    image = _read_channels(source)
    read = partial(read_classes, values=classes) if classes else partial(read_mask, threshold=threshold)
    masks = [_named(path, read) for path in source.masks]
    for path, mask in zip(source.masks, masks, strict=True):
        if mask.shape != image.shape[:2]:
            image_size, mask_size = (f"{array.shape[1]}x{array.shape[0]}" for array in (image, mask))
            raise BadImageError(f"{source.image}: is {image_size} but its mask {path.name} is {mask_size}")
    return image, np.maximum.reduce(masks)


def read_array_source(source: Source, classes: Sequence[Value]) -> tuple[np.ndarray, np.ndarray]:
    """Return what `read_source` returns, of one row of an array file; a mask is everything that is not 0."""
    image = np.squeeze(array_of(source.image, f"{source.split}_images")[source.index])
    label = next(name for name in array_names(source.image) if name.startswith(f"{source.split}_label"))
    values = np.squeeze(array_of(source.image, label)[source.index])
    if image.dtype != np.uint8:
        raise BadImageError(f"{source.image}: its images are {image.dtype}, not 8 bits a channel: convert them first")
    try:
        labels = labels_of_values(values, classes) if classes else (values > 0).astype(np.uint8)
    except BadImageError as error:
        raise BadImageError(f"{source.image}, {source.split} {source.index}: {error}") from error
    return np.stack([image] * 3, -1) if image.ndim == 2 else np.array(image), labels
