"""What can be wrong with the files of a data set: each fault by its own name, and how one pair is looked at."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data.pairs.duplicates import thumbnail
from data.pairs.image_io import MASK_THRESHOLD, BadImageError, read_image
from data.pairs.sources import Source, read_source

STOPS, WARNS, INFORMS = "stops prepare", "look at it", "good to know"
# code -> how serious, what it is and what to do
FAULTS: dict[str, tuple[str, str]] = {
    "no_mask": (STOPS, "images without a mask: add the mask or remove the image"),
    "no_image": (STOPS, "masks without an image: add the image or remove the mask"),
    "shared_stem": (STOPS, "two files share a stem, and nobody can say which one is meant: keep one"),
    "missing": (STOPS, "files that a list names are not there: mend the list"),
    "unmatched": (STOPS, "files that fit no pair of this layout"),
    "zero_bytes": (STOPS, "files of zero bytes: copy them again"),
    "not_an_image": (STOPS, "files that are no image in spite of their ending: replace them"),
    "damaged": (STOPS, "damaged or cut-off files: copy them again"),
    "sixteen_bit": (STOPS, "more than 8 bits a channel: convert them, with a window that you choose"),
    "size_mismatch": (STOPS, "image and mask differ in size: export the mask again at the size of the image"),
    "zero_one_mask": (STOPS, "masks of 0 and 1: set mask_threshold: 0"),
    "class_mask": (WARNS, "masks of class numbers: `classes` keeps them apart, mask_threshold: 0 merges them"),
    "colour_mask": (WARNS, "masks in colours: they are read as grey, unless `classes` in the row names the colours"),
    "grey_mask": (WARNS, "masks with over 1 % grey pixels, such as JPEG masks: cut at > 127, never at > 0"),
    "empty_mask": (WARNS, "masks without lesion"),
    "full_mask": (WARNS, "masks that are all lesion"),
    "inverted_mask": (WARNS, "lesion on most of the image's border: are black and white exchanged?"),
    "mask_is_image": (WARNS, "the mask is the image itself: a wrong copy?"),
    "cmyk": (WARNS, "CMYK pictures: they are converted to RGB without a colour profile"),
    "alpha": (WARNS, "an alpha channel: it is dropped"),
    "animated": (WARNS, "several frames in one file: only the first is read"),
    "tiny": (WARNS, "a side of less than 64 px: such images are enlarged"),
    "odd_name": (WARNS, "names with spaces or signs: ids keep them, other tools may not"),
    "same_image_across_splits": (STOPS, "the same image in two splits: test scores would be too good"),
    "near_duplicate_across_splits": (STOPS, "nearly the same image in two splits: keep one, or group them"),
    "near_duplicate": (WARNS, "nearly the same image twice in one split"),
    "sequence": (WARNS, "neighbouring numbers look alike, as frames of a video do: splits by share would leak"),
    "exif_turned": (INFORMS, "an EXIF turn, which is applied"),
    "palette": (INFORMS, "palette pictures, read by their colours"),
    "lossy_mask": (INFORMS, "JPEG masks: their edges are grey"),
    "several_masks": (INFORMS, "several masks for one image: merged, a pixel counts when any of them has it"),
    "unused": (INFORMS, "pictures that belong to no pair of this layout"),
}  # fmt: skip
GREY_SHARE, TINY_PX, MOST_LABELS, ODD = 0.01, 64, 32, re.compile(r"[^\w.()-]")


@dataclass
class Seen:
    """What one look at a pair told."""

    source: Source
    faults: list[tuple[str, str]] = field(default_factory=list)  # code, file
    size: tuple[int, int] | None = None  # width, height of the image
    foreground: float = 0.0  # share of lesion pixels at the threshold, 0-1
    grey_share: float | None = None  # pixels of the mask that are neither its least nor its greatest value, 0-1
    labels: frozenset[int] = frozenset()  # values of a mask of class numbers
    inflation: float | None = None  # lesion at > 0 over lesion at > threshold, minus 1
    thumbnail: np.ndarray | None = None


def _look_at_file(path: Path, *, is_mask: bool) -> list[str]:
    """Return the codes of what the file itself tells, without regard to its partner."""
    if path.stat().st_size == 0:
        return ["zero_bytes"]
    codes = ["odd_name"] if ODD.search(path.name) else []
    try:
        with Image.open(path) as picture:
            mode, frames = picture.mode, getattr(picture, "n_frames", 1)
            turned = picture.getexif().get(0x0112, 1) != 1
            codes += [code for code, there in (("cmyk", mode == "CMYK"), ("palette", mode == "P")) if there]
            codes += ["alpha"] if mode in ("RGBA", "LA", "PA") or "transparency" in picture.info else []
            codes += [code for code, there in (("animated", frames > 1), ("exif_turned", turned)) if there]
            codes += ["tiny"] if min(picture.size) < TINY_PX and not is_mask else []
            codes += ["lossy_mask"] if is_mask and picture.format == "JPEG" else []
    except UnidentifiedImageError:
        return [*codes, "not_an_image"]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return [*codes, "damaged"]
    try:
        read_image(path)
    except BadImageError as error:
        codes.append("sixteen_bit" if "more than 8 bits" in str(error) else "damaged")
    return codes


def _look_at_mask(path: Path, seen: Seen, threshold: int) -> list[str]:
    """Return the codes of a readable mask's values, and note them in `seen`."""
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file).convert("RGB")
    colours = np.asarray(picture)
    grey = np.asarray(picture.convert("L"))
    values, counts = np.unique(grey, return_counts=True)
    between = counts[(values > values.min()) & (values < values.max())].sum() / grey.size
    lesion = int((grey > threshold).sum())
    seen.grey_share = max(float(between), seen.grey_share or 0.0)
    if lesion:
        seen.inflation = max(float((grey > 0).sum() / lesion - 1), seen.inflation or 0.0)
    numbered = values.max() < MOST_LABELS
    if numbered:
        seen.labels |= {int(value) for value in values if value}
    return [
        code
        for code, there in (
            ("zero_one_mask", values.max() == 1 and threshold > 0),
            ("class_mask", numbered and values.max() > 1 and threshold > 0),
            ("colour_mask", (np.ptp(colours.astype(np.int16), axis=2) > 64).mean() > 0.001),
            ("grey_mask", between > GREY_SHARE and not numbered),
        )
        if there
    ]


def look(source: Source, threshold: int = MASK_THRESHOLD) -> Seen:
    """Return what is seen in one pair, with every fault of its files and of the two together."""
    seen = Seen(source)
    if source.index < 0:
        for path in (source.image, *source.masks):
            codes = _look_at_file(path, is_mask=path is not source.image)
            seen.faults += [(code, str(path)) for code in codes]
            if path is not source.image and not {"zero_bytes", "not_an_image", "damaged", "sixteen_bit"} & set(codes):
                seen.faults += [(code, str(path)) for code in _look_at_mask(path, seen, threshold)]
    if len(source.masks) > 1:
        seen.faults.append(("several_masks", str(source.image)))
    named = {code for code, _ in seen.faults}
    try:
        image, mask = read_source(source, 0 if {"zero_one_mask", "class_mask"} & named else threshold)
    except BadImageError as error:
        if "but its mask" in str(error):
            seen.faults.append(("size_mismatch", str(error)))
        return seen
    seen.size = (image.shape[1], image.shape[0])
    seen.foreground = float(mask.mean())
    seen.thumbnail = thumbnail(image)
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    both = str(source.masks[0])
    same = source.index < 0 and source.image.read_bytes() == source.masks[0].read_bytes()
    if seen.foreground in (0.0, 1.0):
        seen.faults.append(("full_mask" if seen.foreground else "empty_mask", both))
    elif border.mean() > 0.75 and not same:
        seen.faults.append(("inverted_mask", both))
    if same:
        seen.faults.append(("mask_is_image", both))
    return seen
