"""Reading, writing and resizing images and masks. The only place that knows 0/255 from 0/1 and the threshold.

In memory an image is uint8 (H, W, 3) RGB, a mask is uint8 (H, W) in {0, 1} and labels are uint8 (H, W) in {0..K} for K
classes of lesion. On disk all are PNG: a mask is {0, 255}, and K classes are K evenly spaced greys up to 255.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

MASK_THRESHOLD = 127
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")

Array = np.ndarray


class BadImageError(ValueError):
    """A file that cannot be used as it is; the message says why and what to do, without the file's name."""


def _open(path: Path) -> Image.Image:
    """Return the decoded picture, turned as its EXIF tag says."""
    try:
        with Image.open(path) as file:
            deep = re.search(r"(RGB|RGBA|RGBX|LA|CMYK);16", str(file.tile))  # Pillow would cut these to 8 bits unasked
            file.load()
            picture = ImageOps.exif_transpose(file)
    except UnidentifiedImageError as error:
        raise BadImageError("is not an image that can be read: replace the file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImageError(f"is damaged ({error}): replace the file") from error
    if deep or picture.mode.startswith("I") or picture.mode == "F":
        mode = deep.group() if deep else picture.mode
        raise BadImageError(f"has more than 8 bits a channel (mode {mode}): convert it to 8 bits first")
    return picture


def read_image(path: Path) -> Array:
    """Return uint8 (H, W, 3) RGB.

    Raises: BadImageError for a damaged file and for one of more than 8 bits a channel.
    """
    return np.asarray(_open(path).convert("RGB"))


def read_mask(path: Path, threshold: int = MASK_THRESHOLD) -> Array:
    """Return uint8 (H, W) in {0, 1}: 1 where the grey value is above `threshold`.

    JPEG masks are grey at their edges; above 0 instead of above 127 would make lesions a few percent larger.

    Raises: BadImageError for a damaged file, more than 8 bits, or a mask whose values all lie at or below the threshold
    without being zero (0/1 masks under the threshold 127).
    """
    grey = np.asarray(_open(path).convert("L"))
    mask = (grey > threshold).astype(np.uint8)
    if grey.max() > 0 and not mask.any():
        raise BadImageError(
            f"has no value above mask_threshold {threshold}, its largest is {grey.max()}: "
            f"set mask_threshold: {int(grey.max()) - 1} in the data-set row"
        )
    return mask


def read_classes(path: Path, values: Sequence[int | tuple[int, int, int]]) -> Array:
    """Return uint8 (H, W) in {0..K} of somebody's mask: k + 1 where the pixel has values[k], a grey or an RGB colour.

    Raises: BadImageError for a damaged file, more than 8 bits, or a pixel that is neither black nor of these values.
    """
    return labels_of_values(np.asarray(_open(path).convert("RGB")), values)


def labels_of_values(pixels: Array, values: Sequence[int | tuple[int, int, int]]) -> Array:
    """Return uint8 (H, W) in {0..K}: k + 1 where a pixel of (H, W) or (H, W, 3) has values[k].

    Raises: BadImageError for a pixel that is neither black nor of these values.
    """
    colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
    labels = np.zeros(colours.shape[:2], np.uint8)
    known = ~colours.any(2)
    for number, value in enumerate(values, 1):
        here = (colours == np.array(value)).all(2)  # a grey is a colour of three equal parts
        labels[here] = number
        known |= here
    if not known.all():
        found = [tuple(int(part) for part in row) for row in np.unique(colours[~known], axis=0)]
        shown = sorted({row[0] if len(set(row)) == 1 else row for row in found}, key=str)[:6]
        share = 100 * (1 - known.mean())
        raise BadImageError(f"has {share:.2g} % pixels of no class, such as {shown}: name their values in `classes`")
    return labels


def levels(classes: int) -> Array:
    """Return uint8 (classes + 1,): the grey of each label in a prepared mask, black for the background."""
    return np.round(np.arange(classes + 1) * 255 / classes).astype(np.uint8)


def read_labels(path: Path, classes: int = 1) -> Array:
    """Return uint8 (H, W) in {0..classes} of a prepared mask.

    Raises: BadImageError for a damaged file and for a grey that `write_mask` does not write.
    """
    grey = np.asarray(_open(path).convert("L"))
    label_of = np.full(256, 255, np.uint8)
    label_of[levels(classes)] = np.arange(classes + 1)
    labels = label_of[grey]
    if labels.max(initial=0) > classes:
        odd = np.unique(grey[labels > classes])[:6].tolist()
        raise BadImageError(f"is no mask of {classes} classes: it holds {odd}, not only {levels(classes).tolist()}")
    return labels


def _write_png(path: Path, picture: Image.Image, text: Mapping[str, str]) -> None:
    info = PngImagePlugin.PngInfo()
    for key in sorted(text):
        info.add_text(key, text[key])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    picture.save(beside, format="PNG", pnginfo=info)
    beside.replace(path)


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


def resize_image(image: Array, size_px: int, *, antialias: bool) -> Array:
    """Return uint8 (size_px, size_px, 3), stretched as in the paper.

    Without antialias it is OpenCV's bilinear, which the official code uses; with it, Pillow's bicubic, which is the
    sound choice for strong reductions (a 600 px photograph to 64 px).
    """
    return _resize(image, (size_px, size_px), antialias=antialias)


def _resize(image: Array, size: tuple[int, int], *, antialias: bool) -> Array:
    if image.shape[1::-1] == size:
        return image
    if antialias:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    import cv2

    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: Array, size_px: int) -> Array:
    """Return uint8 (size_px, size_px) by nearest neighbour, from a mask or labels: no value is new."""
    return _resize_labels(mask, (size_px, size_px))


def soften_mask(mask: Array, size_px: int) -> Array:
    """Return uint8 (size_px, size_px): the share of lesion in each pixel in 255ths, by Pillow's antialiased bilinear."""
    if mask.shape == (size_px, size_px):
        return mask * np.uint8(255)
    return np.asarray(Image.fromarray(mask * np.uint8(255)).resize((size_px, size_px), Image.Resampling.BILINEAR))


def _resize_labels(labels: Array, size: tuple[int, int]) -> Array:
    if labels.shape[::-1] == size:
        return labels
    import cv2

    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)


Box = tuple[int, int, int, int]  # left, top, width, height in px


def letterbox(image: Array, mask: Array, size_px: int, *, antialias: bool) -> tuple[Array, Array, Box]:
    """Return image and mask as squares of the side `size_px` that keep their proportions, and the box they lie in.

    The longer side fills the square, and what is left on both sides of the shorter one is black and no lesion.
    """
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    inner_w, inner_h = (max(1, round(side * scale)) for side in (width, height))
    box = ((size_px - inner_w) // 2, (size_px - inner_h) // 2, inner_w, inner_h)
    framed = np.zeros((size_px, size_px, 3), np.uint8)
    framed_mask = np.zeros((size_px, size_px), np.uint8)
    crop(framed, box)[:] = _resize(image, (inner_w, inner_h), antialias=antialias)
    crop(framed_mask, box)[:] = _resize_labels(mask, (inner_w, inner_h))
    return framed, framed_mask, box


def crop(array: Array, box: Box) -> Array:
    """Return the part (height, width, ...) of an array (H, W, ...) that lies in the box, without a copy."""
    left, top, width, height = box
    return array[top : top + height, left : left + width]
