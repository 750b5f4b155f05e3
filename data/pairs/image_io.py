"""Reading, writing and resizing images and masks. The only place that knows 0/255 from 0/1 and the threshold.

In memory an image is uint8 (H, W, 3) RGB and a mask is uint8 (H, W) in {0, 1}. On disk both are PNG and a mask is
{0, 255}.
"""

import os
import re
from collections.abc import Mapping
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


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image file after its EXIF turn; damaged files raise BadImageError."""
    height, width = np.asarray(_open(path)).shape[:2]
    return height, width


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


def write_mask(path: Path, mask: Array) -> None:
    """Write uint8 (H, W) in {0, 1} as a one-channel PNG in {0, 255}."""
    if mask.dtype != np.uint8 or mask.ndim != 2 or mask.max(initial=0) > 1:
        raise ValueError(f"expected uint8 (H, W) in {{0, 1}}, got {mask.dtype} {mask.shape}, max {mask.max(initial=0)}")
    _write_png(path, Image.fromarray(mask * np.uint8(255)), {})


def resize_image(image: Array, size_px: int, *, antialias: bool) -> Array:
    """Return uint8 (size_px, size_px, 3), stretched as in the paper.

    Without antialias it is OpenCV's bilinear, which the official code uses; with it, Pillow's bicubic, which is the
    sound choice for strong reductions (a 600 px photograph to 64 px).
    """
    if image.shape[:2] == (size_px, size_px):
        return image
    if antialias:
        return np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC))
    import cv2

    return cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: Array, size_px: int) -> Array:
    """Return uint8 (size_px, size_px) in {0, 1} by nearest neighbour, from a mask that is already binary."""
    if mask.shape == (size_px, size_px):
        return mask
    import cv2

    return cv2.resize(mask, (size_px, size_px), interpolation=cv2.INTER_NEAREST)
