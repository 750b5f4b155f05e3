"""Reading and writing images and masks. The only place that knows 0/255 from 0/1 and the threshold.

In memory an image is uint8 (H, W, 3) RGB, a mask is uint8 (H, W) in {0, 1} and labels are uint8 (H, W) in {0..K} for K
classes of lesion. On disk all are PNG: a mask is {0, 255}, and K classes are K evenly spaced greys up to 255.
"""

import contextlib
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from data.pairs.damage import begins_as_picture, prove_damage
from data.pairs.errors import BadImageError as BadImageError  # what readers raise is imported from here
from data.pairs.errors import one_line, system_problem

MASK_THRESHOLD = 127
EXIF_TURN = 0x0112
COLOURFUL = 64  # difference between the channels of a pixel
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


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of a picture in px, turned as its EXIF tag says, from its head. Raises: OSError."""
    with Image.open(path) as file:
        width, height = file.size
        return (height, width) if file.getexif().get(EXIF_TURN, 1) in (5, 6, 7, 8) else (width, height)


def _decoded(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            deep = _more_than_8_bits(file)
            file.load()
            prove_damage(path, file)
            turned = file.getexif().get(EXIF_TURN, 1) != 1
            picture = ImageOps.exif_transpose(file) if turned else file  # a copy
    except UnidentifiedImageError as error:
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


def _more_than_8_bits(file: ImageFile.ImageFile) -> str:
    """Return what says that an opened file has more bits than Pillow would give unasked, or nothing."""
    found = re.search(r"(RGB|RGBA|RGBX|LA|CMYK);16", str(file.tile))
    if found or file.format != "PPM":
        return found.group() if found else ""
    most = max((tile.args[1] for tile in file.tile if isinstance(tile.args, tuple) and len(tile.args) > 1), default=0)
    return f"PPM with values up to {most}" if isinstance(most, int) and most > 255 else ""


def read_image(path: Path) -> Array:
    """Return uint8 (H, W, 3) RGB.

    Raises: BadImageError for a damaged file and for one of more than 8 bits a channel.
    """
    return np.asarray(open_picture(path).convert("RGB"))


def is_jpeg(path: Path) -> bool:
    """Return whether a readable picture is a JPEG, whatever its ending."""
    with Image.open(path) as file:
        return file.format in ("JPEG", "MPO")


def mask_pixels(path: Path) -> Array:
    """Return the values of somebody's mask: uint8 (H, W) of greys, or (H, W, 3) where any pixel is not grey.

    Where the colours are one alone, the values are those of the alpha channel, or the numbers of a palette.

    Raises: BadImageError for a damaged file, more than 8 bits, or an alpha channel that says other than the colours.
    """
    picture = open_picture(path)
    if picture.mode in ("1", "L") and "transparency" not in picture.info:
        return np.asarray(picture.convert("L"))
    numbers = np.asarray(picture) if picture.mode == "P" else None
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = np.asarray(picture.getchannel("A"))
    else:
        alpha = None
    colours = picture.convert("RGB")
    red, green, blue = colours.split()
    plain = not any(np.ptp(np.asarray(plane)) for plane in (red, green, blue))
    if alpha is not None and np.ptp(alpha):
        if plain:
            return alpha
        if _contradicts(np.asarray(colours.convert("L")), alpha):
            raise BadImageError(
                "has colours and an alpha channel that part it differently: export the mask as one channel",
                "alpha_unclear",
            )
    if plain and numbers is not None and np.ptp(numbers):
        return numbers
    return np.asarray(red if red.tobytes() == green.tobytes() == blue.tobytes() else colours)


def _contradicts(grey: Array, alpha: Array) -> bool:
    """Return whether over 0.5 % of the pixels have a grey that is opaque in one place and transparent in another."""
    seen = alpha > MASK_THRESHOLD
    opaque, clear = (np.bincount(grey[part], minlength=256) for part in (seen, ~seen))
    return bool(np.minimum(opaque, clear).sum() > 0.005 * grey.size)


def read_mask(path: Path, threshold: int = MASK_THRESHOLD) -> Array:
    """Return uint8 (H, W) in {0, 1}: 1 where the grey value is above `threshold`.

    JPEG masks are grey at their edges; above 0 instead of above 127 would make lesions a few percent larger.

    Raises: BadImageError as `mask_pixels`, and for a mask in colours, or one whose values all lie at or below the
    threshold without being zero (0/1 masks under the threshold 127).
    """
    return threshold_mask(mask_pixels(path), threshold)


def is_colourful(colours: Array) -> bool:
    """Return whether over 0.1 % of the pixels of uint8 (H, W, 3) are clearly no grey, for so bright a picture."""
    red, green, blue = (colours[..., channel] for channel in range(3))
    peak = np.maximum(np.maximum(red, green), blue)
    spread = peak - np.minimum(np.minimum(red, green), blue)
    return bool((spread > COLOURFUL * int(peak.max(initial=0)) / 255).mean() > 0.001)


def greys(pixels: Array) -> Array:
    """Return uint8 (H, W) of a mask's pixels. Raises: BadImageError for one in colours."""
    if pixels.ndim == 2:
        return pixels
    if is_colourful(pixels):
        raise BadImageError("is in colours: name them in the data-set row, classes: {name: [r, g, b]}", "colour_mask")
    return np.asarray(Image.fromarray(pixels).convert("L"))


def threshold_mask(pixels: Array, threshold: int, background: Sequence[Value] = (), *, inverted: bool = False) -> Array:
    """Return uint8 (H, W) in {0, 1}: 1 where the value is above `threshold`, or is not where `inverted`.

    Values of `background` are 0 in any case.

    Raises: BadImageError for colours, and when no value is above the threshold although some are not 0.
    """
    grey = greys(pixels)
    labelled = ~np.isin(grey, [value for value in background if isinstance(value, int)])
    above = grey > threshold
    if (grey * labelled).any() and not (above & labelled).any() and not (inverted and above.any()):
        values = np.unique(grey[labelled])
        shown = ", ".join(str(value) for value in values[:8]) + (", ..." if len(values) > 8 else "")
        what_to_do = "set mask_threshold: 0" if values[-1] == 1 else "set mask_threshold below the lesion's, or classes"
        raise BadImageError(
            f"has no value above mask_threshold {threshold}, its values are {shown}: {what_to_do} in the data-set row",
            "zero_one_mask" if values[-1] == 1 else "dim_mask",
        )
    return ((above != inverted) & labelled).astype(np.uint8)


def labels_of_values(pixels: Array, values: Sequence[Value], background: Sequence[Value] = ()) -> Array:
    """Return uint8 (H, W) in {0..K}: k + 1 where a pixel of (H, W) or (H, W, 3) has values[k].

    Raises: BadImageError for a pixel that is neither black, nor of these values, nor of those of `background`.
    """
    colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
    labels = np.zeros(colours.shape[:2], np.uint8)
    known = ~colours.any(2)
    for value in background:
        known |= (colours == np.array(value)).all(2)
    for number, value in enumerate(values, 1):
        here = (colours == np.array(value)).all(2)  # a grey is a colour of three equal parts
        labels[here] = number
        known |= here
    if not known.all():
        found = [tuple(int(part) for part in row) for row in np.unique(colours[~known], axis=0)]
        shown = sorted({row[0] if len(set(row)) == 1 else row for row in found}, key=str)[:6]
        share = 100 * (1 - known.mean())
        what_to_do = "name their values in `classes`, or export the mask again without losses and smooth edges"
        raise BadImageError(f"has {share:.2g} % pixels of no class, such as {shown}: {what_to_do}", "class_unknown")
    return labels


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


def write_mask(path: Path, mask: Array, classes: int = 1) -> None:
    """Write uint8 (H, W) in {0..classes} as a one-channel PNG of `levels(classes)`: {0, 255} for one class."""
    most = mask.max(initial=0)
    if mask.dtype != np.uint8 or mask.ndim != 2 or most > classes:
        raise ValueError(f"expected uint8 (H, W) in {{0..{classes}}}, got {mask.dtype} {mask.shape}, max {most}")
    _write_png(path, Image.fromarray(levels(classes)[mask]), {})
