"""Pairs as their owner keeps them: which files belong together, and how one pair is read."""

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from data.pairs.arrays import read_row
from data.pairs.image_io import (
    IMAGE_SUFFIXES,
    MASK_THRESHOLD,
    BadImageError,
    read_classes,
    read_image,
    read_mask,
)
from data.pairs.parallel import Budget

# BUSI counts the masks of one image: (3)_mask, (3)_mask_1
MASK_SUFFIX = re.compile(
    r"[_-](mask|segmentation|lesion|label|labels|anno|annotation|gt|seg)([_-]?\d+)?$", re.IGNORECASE
)
MASK_WORDS = re.compile(r"^(image|img|mask|label|labels|lesion|gt|seg|segmentation)[_-]", re.IGNORECASE)
LOSSY = (".jp2", ".jpg", ".jpeg")


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
    name: str = ""  # the id before it was made unique; empty when it still is the id
    channels: tuple[Path, ...] = ()  # further files of the image, each of one channel: green and blue

    @property
    def own_name(self) -> str:
        """The id that the file itself gives."""
        return self.name or self.id


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
        stem = plain_stem(path)
        if stem in found:
            unmatched.append(f"{path}: shares its stem '{stem}' with {found[stem].name}; keep one of them")
        else:
            found[stem] = path
    return found


def plain_stem(path: Path) -> str:
    """Return the name without the ending, with accents as one sign: macOS writes them as two."""
    return unicodedata.normalize("NFC", path.stem)


def _masks_by_stem(files: Iterable[Path], stems: set[str], unmatched: list[str]) -> dict[str, list[Path]]:
    """Return stem of the image -> its masks: the same stem, or that stem with a suffix such as _mask or _mask_2.

    Where one mask lies there in two formats, the one that cannot have lost anything is taken.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(files, key=lambda path: (IMAGE_SUFFIXES.index(path.suffix.lower()), path.name)):
        own = plain_stem(path)
        kept = found.setdefault(own if own in stems else MASK_SUFFIX.sub("", own), {})
        if own not in kept:
            kept[own] = path
        elif path.suffix.lower() not in LOSSY or kept[own].suffix.lower() in LOSSY:
            unmatched.append(f"{path}: shares its stem '{own}' with {kept[own].name}; keep one of them")
    return {stem: sorted(kept.values()) for stem, kept in found.items()}


def _other_keys(images: dict[str, Path], masks: dict[str, list[Path]]) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Return both under keys that pair all of them, where the stems pair none: as DRIVE's 21_training and 21_manual1.

    The first that fits: without a word such as image_ or mask_ in front, or the number in front. Else as they came.
    """
    for key in (lambda stem: MASK_WORDS.sub("", stem), lambda stem: (re.match(r"\d+", stem) or [""])[0]):
        ours = {key(stem): path for stem, path in images.items()}
        theirs = {key(stem): files for stem, files in masks.items()}
        if set(ours) == set(theirs) and "" not in ours and len(ours) == len(images) and len(theirs) == len(masks):
            return ours, theirs
    return images, masks


def match(
    images: Iterable[Path], masks: Iterable[Path], unmatched: list[str], *, split: str = "", domain: str = ""
) -> list[Source]:
    """Return the pairs of two lists of files by their stems; what has no partner is appended to `unmatched`."""
    by_stem = _images_by_stem(images, unmatched)
    mask_files = _masks_by_stem(masks, set(by_stem), unmatched)
    if not set(by_stem) & set(mask_files):
        by_stem, mask_files = _other_keys(by_stem, mask_files)
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
        raise BadImageError(f"{source.image}: its channels differ in size", "size_mismatch")
    return np.stack([plane[..., 0] for plane in planes], axis=-1)


def _named(path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    try:
        return read(path)
    except BadImageError as error:
        raise BadImageError(f"{path}: {error}", error.code) from error


PIXELS = Budget(2**27)  # in work at a time, on all cores together, at about 8 bytes each; a larger picture comes alone


def memory_for(source: Source) -> AbstractContextManager[None]:
    """Return what holds the memory that a pair needs to be read, so that large ones are read one after the other."""
    pixels = 0
    for path in (source.image, *source.masks) if source.index < 0 else ():
        with contextlib.suppress(Exception), Image.open(path) as picture:  # what cannot be opened is named when read
            pixels += picture.width * picture.height
    return PIXELS.share(pixels)


def read_source(
    source: Source, threshold: int = MASK_THRESHOLD, classes: Sequence[Value] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, uint8 (H, W, 3), and the mask, uint8 (H, W).

    Without `classes` the mask is in {0, 1}: any of its files is above `threshold`. With them it is k + 1 where a file
    has the value classes[k], a grey or an RGB colour; where files overlap, the later class counts.

    Raises: BadImageError with the file's name, for a file that cannot be read or sizes that differ.
    """
    if source.index >= 0:
        return read_row(source.image, source.split, source.index, threshold, classes)
    image = _read_channels(source)
    read = partial(read_classes, values=classes) if classes else partial(read_mask, threshold=threshold)
    masks = [_named(path, read) for path in source.masks]
    for path, mask in zip(source.masks, masks, strict=True):
        if mask.shape != image.shape[:2]:
            image_size, mask_size = (f"{array.shape[1]}x{array.shape[0]}" for array in (image, mask))
            turned = "; one of them has an EXIF turn" if image.shape[1::-1] == mask.shape else ""
            raise BadImageError(
                f"{source.image}: is {image_size} but its mask {path.name} is {mask_size}{turned}", "size_mismatch"
            )
    return image, np.maximum.reduce(masks)
