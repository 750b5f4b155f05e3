"""Reading and writing images and masks. The only place that knows 0/255 from 0/1 and the threshold.

In memory an image is uint8 (H, W, 3) RGB, a mask is uint8 (H, W) in {0, 1} and labels are uint8 (H, W) in {0..K} for K
classes of lesion. On disk all are PNG: a mask is {0, 255}, and K classes are K evenly spaced greys up to 255.
"""

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from data.pairs.damage import begins_as_picture, prove_damage
from data.pairs.depth import HEIGHT, WIDTH, more_than_8_bits, refuse_unread_tiff
from data.pairs.errors import BadImageError as BadImageError  # what readers raise is imported from here
from data.pairs.errors import one_line, system_problem

MASK_THRESHOLD = 127
EXIF_TURN = 0x0112
# the best of several copies of one picture first
IMAGE_SUFFIXES = (
    ".png", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx",
    ".jp2", ".j2k", ".jpx", ".avif", ".jpg", ".jpeg", ".jpe", ".jfif",
)  # fmt: skip

# Large pictures are read, and those that Pillow refuses are named; what it grumbles at in TIFF tags is no matter here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL.TiffImagePlugin")

Array = np.ndarray
Value = int | tuple[int, int, int]  # a grey, or red, green and blue


_kept = threading.local()


@contextlib.contextmanager
def each_decoded_once(most_px: int) -> Iterator[None]:
    """Within the block, a file that this thread reads again is not decoded again.

    One of more than `most_px` pixels is thinned: only every second, third, ... pixel of as many rows is there.
    """
    _kept.pictures, _kept.most_px = {}, most_px
    try:
        yield
    finally:
        del _kept.pictures


def open_picture(path: Path) -> Image.Image:
    """Return the decoded picture, turned as its EXIF tag says.

    Raises: BadImageError for a damaged file and for one of more than 8 bits a channel.
    """
    kept = getattr(_kept, "pictures", {})
    if path not in kept:
        picture = _decoded(path)
        kept[path] = _thinned(picture, _kept.most_px) if hasattr(_kept, "pictures") else picture
    return kept[path]


def _thinned(picture: Image.Image, most_px: int) -> Image.Image:
    step = math.ceil(math.sqrt(picture.width * picture.height / most_px))
    size = (max(1, picture.width // step), max(1, picture.height // step))
    return picture.resize(size, Image.Resampling.NEAREST) if step > 1 else picture


def is_turned(path: Path) -> bool:
    """Return whether the EXIF tag of a picture turns it. Raises: OSError."""
    with Image.open(path) as file:
        return file.getexif().get(EXIF_TURN, 1) != 1


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of a picture in px, turned as its EXIF tag says, from its head. Raises: OSError."""
    with Image.open(path) as file:
        width, height = file.size
        if isinstance(file, TiffImagePlugin.TiffImageFile):  # its size may be turned already
            width, height = file.tag_v2[WIDTH], file.tag_v2[HEIGHT]
        return (height, width) if file.getexif().get(EXIF_TURN, 1) in (5, 6, 7, 8) else (width, height)


def _decoded(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            deep = more_than_8_bits(path, file)
            file.load()
            prove_damage(path, file)
            turned = file.getexif().get(EXIF_TURN, 1) != 1
            picture = ImageOps.exif_transpose(file) if turned else file  # a copy
    except UnidentifiedImageError as error:
        refuse_unread_tiff(path)
        if begins_as_picture(path):
            raise BadImageError("is damaged (its beginning is no whole header): replace the file", "damaged") from error
        raise BadImageError("is not an image that can be read: replace the file", "not_an_image") from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"is too large ({error}): make a smaller copy", "too_large") from error
    except (OSError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise BadImageError(f"cannot be read: {system_problem(error)}", "unreadable") from error
        raise BadImageError(f"is damaged ({one_line(str(error))}): replace the file", "damaged") from error
    deep = deep or (picture.mode if picture.mode.startswith("I") or picture.mode == "F" else "")
    if deep:
        raise BadImageError(f"has more than 8 bits a channel (mode {deep}): convert it to 8 bits first", "sixteen_bit")
    return picture


def read_image(path: Path) -> Array:
    """Return uint8 (H, W, 3) RGB. Raises: BadImageError for a damaged file and for more than 8 bits a channel."""
    return np.asarray(open_picture(path).convert("RGB"))


def is_jpeg(path: Path) -> bool:
    """Return whether a readable picture is a JPEG, whatever its ending."""
    with Image.open(path) as file:
        return file.format in ("JPEG", "MPO")


def levels(classes: int) -> Array:
    """Return uint8 (classes + 1,): the grey of each label in a prepared mask, black for the background."""
    return np.round(np.arange(classes + 1) * 255 / classes).astype(np.uint8)


def read_labels(path: Path, classes: int = 1) -> Array:
    """Return uint8 (H, W) in {0..classes} of a prepared mask.

    Raises: BadImageError for a damaged file and for a grey that `write_mask` does not write.
    """
    grey = np.asarray(open_picture(path).convert("L"))
    label_of = np.full(256, 255, np.uint8)
    label_of[levels(classes)] = np.arange(classes + 1)
    labels = label_of[grey]
    if labels.max(initial=0) > classes:
        odd = np.unique(grey[labels > classes])[:6].tolist()
        raise BadImageError(
            f"is no mask of {classes} classes: it holds {odd}, not only {levels(classes).tolist()}", "class_unknown"
        )
    return labels


def _write_png(path: Path, picture: Image.Image, text: Mapping[str, str]) -> None:
    info = PngImagePlugin.PngInfo()
    for key in sorted(text):
        info.add_text(key, text[key])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture.save(beside, format="PNG", pnginfo=info)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_image(path: Path, image: Array, text: Mapping[str, str] | None = None) -> None:
    """Write uint8 (H, W, 3) as PNG with provenance text and no clock time: the same input gives the same bytes."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    _write_png(path, Image.fromarray(image), text or {})


def png_text(path: Path) -> dict[str, str]:
    """Return the text that `write_image` put into a file."""
    with Image.open(path) as file:
        return {key: str(value) for key, value in getattr(file, "text", {}).items()}


def write_mask(path: Path, mask: Array, classes: int = 1) -> None:
    """Write uint8 (H, W) in {0..classes} as a one-channel PNG of `levels(classes)`: {0, 255} for one class."""
    most = mask.max(initial=0)
    if mask.dtype != np.uint8 or mask.ndim != 2 or most > classes:
        raise ValueError(f"expected uint8 (H, W) in {{0..{classes}}}, got {mask.dtype} {mask.shape}, max {most}")
    _write_png(path, Image.fromarray(levels(classes)[mask]), {})
