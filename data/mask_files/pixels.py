"""The pixels of somebody's mask: which channel says what, and values made labels, {0, 1} or {0..K}."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data.pairs.image_io import MASK_THRESHOLD, Array, BadImageError, Value, open_picture

COLOURFUL = 64  # difference between the channels of a pixel
FEW_COLOURS, SMALL_PX = 9, 9


def mask_pixels(path: Path) -> Array:
    """Return the values of somebody's mask: uint8 (H, W) of greys, or (H, W, 3) where any pixel is not grey.

    Where the colours are one alone, the values are those of the alpha channel, or the numbers of a palette.

    Raises: BadImageError for a damaged file, more than 8 bits, or an alpha channel that says other than the colours.
    """
    return picture_pixels(open_picture(path))


def picture_pixels(picture: Image.Image) -> Array:
    """Return the values of a mask as `mask_pixels` does, from its decoded picture."""
    if picture.mode in ("1", "L") and "transparency" not in picture.info:
        return np.asarray(picture.convert("L"))
    numbers = np.asarray(picture) if picture.mode == "P" else None
    alpha = None
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = np.asarray(picture.getchannel("A"))
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


def is_colourful(colours: Array) -> bool:
    """Return whether over 0.1 % of the pixels of uint8 (H, W, 3) are clearly no grey, for so bright a picture.

    Where the colours are few, none comes from JPEG or interpolation, and a small lesion is enough.
    """
    red, green, blue = (colours[..., channel] for channel in range(3))
    peak = np.maximum(np.maximum(red, green), blue)
    spread = peak - np.minimum(np.minimum(red, green), blue)
    clear = spread > COLOURFUL * int(peak.max(initial=0)) / 255
    if clear.mean() > 0.001 or clear.sum() < SMALL_PX:
        return bool(clear.mean() > 0.001)
    packed = colours.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    return len(np.unique(packed)) <= FEW_COLOURS


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
    for number, value in [*((0, value) for value in background), *enumerate(values, 1)]:
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
