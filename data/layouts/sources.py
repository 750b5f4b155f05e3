"""Pairs as their owner keeps them: which files belong together, and how one pair is read."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from data.layouts.npz import read_row
from data.mask_files.pixels import mask_pixels
from data.mask_files.read import Reading, looks_exchanged, read_values, refuse_lossy_numbers, refuse_unnamed
from data.pairs.image_io import IMAGE_SUFFIXES, MASK_THRESHOLD, BadImageError, Value, is_jpeg, read_image
from data.pairs.parallel import Budget

# BUSI counts the masks of one image: (3)_mask, (3)_mask_1
MASK_SUFFIX = re.compile(
    r"[_-](mask|segmentation|lesion|label|labels|anno|annotation|gt|seg)([_-]?\d+)?$", re.IGNORECASE
)
IMAGE_WORDS = ("image", "images", "img", "imgs", "input", "original", "orig", "frame", "photo", "pic", "picture", "rgb")
MASK_WORDS = (
    "mask", "masks", "label", "labels", "lesion", "gt", "seg", "segmentation", "groundtruth", "ground_truth", "target",
    "anno", "annotation", "truth",
)  # fmt: skip
_ANY = "|".join((*IMAGE_WORDS, *MASK_WORDS))
WORD_AROUND = re.compile(rf"^(?:{_ANY})(?:[ _.-]+|(?=\d))|(?:[ _.-]+|(?<=\d))(?:{_ANY})$", re.IGNORECASE)
WORD_WITHIN = re.compile(rf"(?<![a-z])(?:{_ANY})(?![a-z])", re.IGNORECASE)
LOSSY = (".jp2", ".j2k", ".jpx", ".avif", ".jpg", ".jpeg", ".jpe", ".jfif")
EXIF_TURN = 0x0112


class Reader(Protocol):
    """What reads a pair that is no picture with a mask of its own: a slice of a volume, an outline in a list."""

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""


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
    reader: Reader | None = None  # in place of reading the files as pictures; index is 0 or more then
    known: tuple[int, ...] = ()  # labels of masks that a list of the layout names; empty where there is none
    ignored: tuple[int, ...] = ()  # those of them that stand for pixels that nobody labelled

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
    ignored: tuple[int, ...] = ()  # labels of pixels that nobody labelled
    notes: tuple[str, ...] = ()  # what was left out on purpose
    left_out: tuple[Path, ...] = ()  # the files and folders that the notes speak of, or that are known not to matter
    listed: bool = False  # whether a list or the row says which files are meant, so that others may lie beside them
    unused: tuple[tuple[str, str], ...] = ()  # (fault, line) of files that are not read, and that stop nothing


def pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder, sorted, without hidden ones."""
    files = (path for path in folder.iterdir() if path.is_file())
    return sorted(p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def file_named(folder: Path, name: str) -> Path:
    """Return the file that a list in a folder names; backslashes are taken for slashes where only that is a file."""
    plain, with_slashes = (Path(os.path.normpath(folder / text)) for text in (name, name.replace("\\", "/")))
    return with_slashes if not plain.is_file() and with_slashes.is_file() else plain


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


Images = dict[str, Path]
Masks = dict[str, list[Path]]
Key = Callable[[str], str]


def _by_case(stems: Iterable[str]) -> dict[str, str]:
    """Return stem in small letters -> stem, for those that no other shares."""
    found: dict[str, list[str]] = {}
    for stem in stems:
        found.setdefault(stem.casefold(), []).append(stem)
    return {folded: same[0] for folded, same in found.items() if len(same) == 1}


def _in_their_case(images: Images, masks: Masks) -> Masks:
    """Return the masks with a stem that differs from an image's in capitals alone under that image's stem."""
    ours, theirs = _by_case(set(images) - set(masks)), _by_case(set(masks) - set(images))
    stem_of = {theirs[folded]: ours[folded] for folded in theirs.keys() & ours.keys()}
    return {stem_of.get(stem, stem): files for stem, files in masks.items()}


def _only_number(stem: str) -> str:
    numbers = re.findall(r"\d+", stem)
    return str(int(numbers[0])) if len(numbers) == 1 else ""


# key of an image, key of a mask, whether all must pair: the names alone do not say enough then
KEYS: tuple[tuple[Key, Key, bool], ...] = (
    (lambda stem: WORD_AROUND.sub("", stem), lambda stem: WORD_AROUND.sub("", stem), False),
    (lambda stem: WORD_WITHIN.sub("", stem), lambda stem: WORD_WITHIN.sub("", stem), False),
    (lambda stem: (re.match(r"\d+", stem) or [""])[0], lambda stem: (re.match(r"\d+", stem) or [""])[0], True),
    (lambda stem: stem if stem.isdecimal() else "", lambda stem: (re.fullmatch(r"p(\d+)", stem) or ["", ""])[1], False),
    (_only_number, _only_number, True),
)


def _other_keys(images: Images, masks: Masks) -> tuple[Images, Masks]:
    """Return both under keys that pair them, where no stem has a partner: as DRIVE's 21_training and 21_manual1.

    The first of KEYS that fits: without a word such as image_ or mask_, the number in front, a p in front of the mask's
    number, the only number while all that stands around it is the same in all names. Else as they came.
    """
    for image_key, mask_key, of_all in KEYS:
        ours = {image_key(stem): path for stem, path in images.items()}
        theirs = {mask_key(stem): files for stem, files in masks.items()}
        if "" in ours or "" in theirs or len(ours) < len(images) or len(theirs) < len(masks):
            continue
        around = [{re.sub(r"\d+", "", stem) for stem in stems} for stems in (images, masks)]
        if image_key is _only_number and any(len(texts) > 1 for texts in around):
            continue
        if set(ours) == set(theirs) or (set(ours) & set(theirs) and not of_all):
            return ours, theirs
    return images, masks


def match(
    images: Iterable[Path], masks: Iterable[Path], unmatched: list[str], *, split: str = "", domain: str = ""
) -> list[Source]:
    """Return the pairs of two lists of files by their stems; what has no partner is appended to `unmatched`."""
    by_stem = _images_by_stem(images, unmatched)
    mask_files = _in_their_case(by_stem, _masks_by_stem(masks, set(by_stem), unmatched))
    if not set(by_stem) & set(mask_files):
        by_stem, mask_files = _other_keys(by_stem, mask_files)
    unmatched += [f"{by_stem[stem]}: has no mask" for stem in sorted(set(by_stem) - set(mask_files))]
    for stem in sorted(set(mask_files) - set(by_stem)):
        unmatched += [f"{path}: has no image" for path in mask_files[stem]]
    both = sorted(set(by_stem) & set(mask_files))
    return [Source(stem, by_stem[stem], tuple(mask_files[stem]), split, domain) for stem in both]


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


def _is_turned(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.getexif().get(EXIF_TURN, 1) != 1


def read_labels_of(source: Source, reading: Reading) -> np.ndarray:
    """Return the labels, uint8 (H, W), of the masks of a pair of picture files; where several overlap, the later class.

    Raises: BadImageError with the file's name, for one that cannot be read, or not as the row reads it, and for masks
    that differ in size.
    """

    def read(path: Path) -> np.ndarray:
        pixels = mask_pixels(path)
        refuse_unnamed(pixels, reading, source.known, source.ignored)
        if is_jpeg(path):
            refuse_lossy_numbers(pixels, reading)
        return read_values(pixels, reading)

    masks = [_named(path, read) for path in source.masks]
    for path, mask in zip(source.masks, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise BadImageError(f"{path}: differs in size from {source.masks[0].name}", "size_mismatch")
    return np.maximum.reduce(masks)


def read_source(
    source: Source, threshold: int = MASK_THRESHOLD, classes: Sequence[Value] = (), reading: Reading | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, uint8 (H, W, 3), and the mask, uint8 (H, W).

    Without `classes` the mask is in {0, 1}: any of its files is above `threshold`. With them it is k + 1 where a file
    has the value classes[k], a grey or an RGB colour; where files overlap, the later class counts. `reading` says all
    that a row can say, in place of both.

    Raises: BadImageError with the file's name, for a file that cannot be read or sizes that differ.
    """
    reading = reading or Reading(threshold, classes=tuple(classes))
    if source.reader:
        return source.reader.read(reading)
    if source.index >= 0:
        return read_row(source.image, source.split, source.index, reading)
    image = _read_channels(source)
    if looks_exchanged(image, lambda: mask_pixels(source.masks[0])):
        raise BadImageError(
            f"{source.image}: has two values, as masks do, and {source.masks[0].name} has many: are images and masks "
            "exchanged?",
            "exchanged",
        )
    mask = read_labels_of(source, reading)
    if mask.shape != image.shape[:2]:
        image_size, mask_size = (f"{array.shape[1]}x{array.shape[0]}" for array in (image, mask))
        turned = [path.name for path in (source.image, source.masks[0]) if _is_turned(path)]
        why = f"; {' and '.join(turned)} has an EXIF turn, which is applied" if len(turned) == 1 else ""
        raise BadImageError(
            f"{source.image}: is {image_size} but its mask {source.masks[0].name} is {mask_size}{why}", "size_mismatch"
        )
    return image, mask
