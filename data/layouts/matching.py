"""Which image and which mask belong together by their names."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from data.pairs.image_io import IMAGE_SUFFIXES
from data.readers.sources import Source, plain_stem

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


def _images_by_stem(files: Iterable[Path], unmatched: list[str]) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for path in files:
        stem = plain_stem(path)
        if images.setdefault(stem, path) != path:
            unmatched.append(f"{path}: shares its stem '{stem}' with {images[stem].name}; keep one of them")
    return images


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


def _in_their_case(images: Images, masks: Masks) -> Masks:
    """Return the masks with a stem that differs from one image's in capitals alone under that image's stem."""
    ours, theirs = images.keys() - masks.keys(), masks.keys() - images.keys()
    counts = [Counter(stem.casefold() for stem in stems) for stems in (ours, theirs)]
    stem_of = {stem.casefold(): stem for stem in ours if all(n[stem.casefold()] == 1 for n in counts)}
    return {stem_of.get(stem.casefold(), stem) if stem in theirs else stem: files for stem, files in masks.items()}


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
    around = [{re.sub(r"\d+", "", stem) for stem in stems} for stems in (images, masks)]
    for image_key, mask_key, of_all in KEYS:
        ours = {image_key(stem): path for stem, path in images.items()}
        theirs = {mask_key(stem): files for stem, files in masks.items()}
        if "" in ours or "" in theirs or len(ours) < len(images) or len(theirs) < len(masks):
            continue
        if image_key is _only_number and any(len(texts) > 1 for texts in around):
            continue
        if ours.keys() == theirs.keys() or (ours.keys() & theirs.keys() and not of_all):
            return ours, theirs
    return images, masks


def match(
    images: Iterable[Path], masks: Iterable[Path], unmatched: list[str], *, split: str = "", domain: str = ""
) -> list[Source]:
    """Return the pairs of two lists of files by their stems; what has no partner is appended to `unmatched`."""
    by_stem = _images_by_stem(images, unmatched)
    mask_files = _in_their_case(by_stem, _masks_by_stem(masks, set(by_stem), unmatched))
    if not by_stem.keys() & mask_files.keys():
        by_stem, mask_files = _other_keys(by_stem, mask_files)
    unmatched += [f"{by_stem[stem]}: has no mask" for stem in sorted(by_stem.keys() - mask_files.keys())]
    lone = sorted(mask_files.keys() - by_stem.keys())
    unmatched += [f"{path}: has no image" for stem in lone for path in mask_files[stem]]
    both = sorted(by_stem.keys() & mask_files.keys())
    return [Source(stem, by_stem[stem], tuple(mask_files[stem]), split, domain) for stem in both]
