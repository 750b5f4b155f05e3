"""One look at a pair: what its files and its mask tell, by the names of faults.py."""

import filecmp
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from data.doctor.faults import FAULTS
from data.mask_files.checks import BORDER, MaskFacts, mask_facts
from data.mask_files.pixels import is_colourful, mask_pixels
from data.mask_files.read import Reading
from data.mask_files.values import NUMBERS, MaskValues, is_photo, void_among
from data.pairs.image_io import EXIF_TURN, MASK_THRESHOLD, BadImageError, each_decoded_once, read_image, size_of
from data.pairs.manifest import id_problem
from data.prepare.likeness import thumbnail
from data.readers.reading import memory_for, read_source
from data.readers.sources import Numbered, Source

UNREADABLE = {"zero_bytes", "not_an_image", "damaged", "sixteen_bit", "too_large", "unreadable"}
MOST_PX = 2**24  # of larger pictures every second, third, ... pixel is looked at, all pixels of the others
GREY_SHARE, TINY_PX, LINE_PX, ODD = 0.01, 64, 9, re.compile(r"[^\w.()-]")


@dataclass
class Seen:
    """What one look at a pair told."""

    source: Source
    faults: list[tuple[str, str]] = field(default_factory=list)  # code, file
    size: tuple[int, int] | None = None  # width, height of the image
    foreground: float = 0.0  # share of lesion pixels at the threshold, 0-1
    grey_share: float | None = None  # pixels of the mask that are neither its least nor its greatest value, 0-1
    labels: frozenset = frozenset()  # greys or colours of a mask that has few of them; empty where it has many
    numbered: bool = True  # whether every mask with a lesion has few values
    wide_void: bool = False  # whether 255 beside class numbers is more than a line
    inflation: float | None = None  # lesion at > 0 over lesion at > threshold, minus 1
    thumbnail: np.ndarray | None = None
    reading: Reading = field(default_factory=Reading)  # how the mask was looked at
    facts: MaskFacts | None = None  # what that gave; nothing where the pair could not be read so


def _look_at_file(path: Path, *, is_mask: bool) -> list[str]:
    codes = ["odd_name"] if ODD.search(path.name) else []
    try:
        if not path.stat().st_size:
            return ["zero_bytes"]
        with Image.open(path) as picture:
            mode, frames = picture.mode, getattr(picture, "n_frames", 1)
            turned = picture.getexif().get(EXIF_TURN, 1) != 1
            codes += [code for code, there in (("cmyk", mode == "CMYK"), ("palette", mode == "P")) if there]
            codes += ["alpha"] if mode in ("RGBA", "LA", "PA") or "transparency" in picture.info else []
            codes += ["exif_turned"] if turned else []
            codes += ["several_pages" if is_mask else "animated"] if frames > 1 else []
            codes += ["tiny"] if min(picture.size) < TINY_PX and not is_mask else []
            codes += ["lossy_mask"] if is_mask and picture.format == "JPEG" else []
    except Exception:  # noqa: BLE001 (whatever a decoder raises; reading it once more gives it its name)
        codes = [code for code in codes if code == "odd_name"]
    try:
        read_image(path)
    except BadImageError as error:
        codes.append(error.code)
    return codes


def _look_at_mask(source: Source, path: Path, seen: Seen, threshold: int) -> list[str]:
    """Return the codes of a readable mask's values, and note them in `seen`."""
    try:
        pixels = mask_pixels(path)
    except BadImageError as error:
        return [error.code]
    colourful = pixels.ndim == 3 and is_colourful(pixels)
    picture = Image.fromarray(pixels).convert("L")
    grey, counts = np.asarray(picture), np.array(picture.histogram())
    held = np.flatnonzero(counts)
    between = 1 - counts[held[[0, -1]]].sum() / grey.size if len(held) > 1 else 0.0
    lesion = int(counts[threshold + 1 :].sum())
    seen.grey_share = max(float(between), seen.grey_share or 0.0)
    if lesion:
        seen.inflation = max(float(counts[1:].sum() / lesion - 1), seen.inflation or 0.0)
    few = MaskValues(pixels if colourful else grey).labels
    seen.labels |= set(few)
    void = void_among(few)
    seen.wide_void |= 255 in void and MaskValues(grey).fills(255, LINE_PX)
    seen.numbered &= bool(few) or not grey.any()
    several = len(few) > 1 or (len(few) == 1 and isinstance(few[0], int) and 1 < few[0] < NUMBERS and threshold > 0)
    return [
        code
        for code, there in (
            ("zero_one_mask", few == [1] and threshold > 0),
            ("class_mask", several and not source.known and not colourful),
            ("colour_mask", colourful and not is_photo(pixels)),
            ("photo_mask", colourful and is_photo(pixels)),
            ("void_mask", bool(void) and not source.known),
            ("grey_mask", between > GREY_SHARE and not few),
        )
        if there
    ]


def _look_at_numbers(source: Source, reader: Numbered, seen: Seen) -> list[str]:
    """Return a line on a mask of several class numbers, and note them in `seen`; what cannot be read is named later."""
    try:
        numbers = np.unique(reader.numbers())
    except BadImageError:
        return []
    held = [int(number) for number in numbers[:NUMBERS] if number]
    seen.labels |= set(held)
    return [f"{source.masks[0]}, {source.id}: {held}"] if len(held) > 1 else []


def look(source: Source, threshold: int = MASK_THRESHOLD, *, stated: bool = False) -> Seen:
    """Return what is seen in one pair, with every fault of its files and of the two together.

    `stated` says that a row names the threshold, and so knows of greys.
    """
    seen = Seen(source)
    with memory_for(source), each_decoded_once(MOST_PX):
        _look(source, threshold, seen, stated=stated)
    return seen


def _look(source: Source, threshold: int, seen: Seen, *, stated: bool) -> None:
    if problem := id_problem(source.id):
        seen.faults.append(("bad_name", f"{source.image}: {problem}"))
    for path in source.pictures:
        codes = _look_at_file(path, is_mask=path is not source.image)
        seen.faults += [(code, str(path)) for code in codes]
        if path is not source.image and not UNREADABLE & set(codes):
            seen.faults += [(code, str(path)) for code in _look_at_mask(source, path, seen, threshold)]
    if isinstance(source.reader, Numbered) and not source.known:
        seen.faults += [("class_mask", line) for line in _look_at_numbers(source, source.reader, seen)]
    if len(source.masks) > 1:
        seen.faults.append(("several_masks", str(source.image)))
    turned = [path for code, path in seen.faults if code == "exif_turned"]
    if turned == [str(source.image)]:
        seen.faults.append(("exif_apart", turned[0]))
    readable = not UNREADABLE & {code for code, _ in seen.faults}
    same = readable and not source.reader and filecmp.cmp(source.image, source.masks[0], shallow=False)
    if same:
        seen.faults.append(("mask_is_image", str(source.masks[0])))
    named = {code for code, _ in seen.faults}
    several = {"class_mask", "colour_mask"} & named and seen.numbered and not seen.wide_void
    void = void_among(seen.labels) if several else frozenset()
    classes = tuple(sorted(seen.labels - void, key=str)) if several else ()
    cut = 0 if "zero_one_mask" in named else threshold
    seen.reading = Reading(cut, stated, classes, tuple(void))
    try:
        image, mask = read_source(source, seen.reading)
    except BadImageError as error:
        if error.code not in named and not same:
            seen.faults.append((error.code if error.code in FAULTS else "unmatched", str(error)))
        return
    seen.size = (image.shape[1], image.shape[0]) if source.reader else size_of(source.image)
    if any(size_of(path) != seen.size for path in source.pictures[1:]):  # of thinned ones it may not show
        seen.faults.append(("size_mismatch", f"{source.image}: differs in size from its mask"))
    seen.foreground = float((mask > 0).mean())
    seen.thumbnail = thumbnail(image)
    seen.facts = mask_facts(mask, source.id)
    both = str(source.masks[0])
    if seen.foreground in (0.0, 1.0):
        seen.faults.append(("full_mask" if seen.foreground else "empty_mask", both))
    elif seen.facts.border > BORDER and not same:
        seen.faults.append(("inverted_mask", both))
    if seen.facts.is_outline:
        seen.faults.append(("outline_mask", both))
