"""Reading the pixels of somebody's mask as a row says, and refusing what the row does not explain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data.mask_files.pixels import greys, is_colourful, labels_of_values, threshold_mask
from data.mask_files.values import NUMBERS, MaskValues, distinct, is_photo, two_valued_share
from data.pairs.image_io import MASK_THRESHOLD, BadImageError, Value

# What the shares were measured on is in data/mask_files/values.py.
LEAST_AREA = 0.002  # share of the pixels that a value must have to be missed
PHOTO, GREY_AREA = 0.5, 0.01  # shares of the pixels that are grey, and that are grey and flat
MASK_LIKE, PHOTO_LIKE = 0.98, 0.9  # shares of the pixels that are near the darkest or the brightest grey
SAMPLED_PX = 96  # a side of the image is looked at in so many places
EDGES = 3  # greys between areas from which on, where areas are no more, they are edges and not small objects


@dataclass(frozen=True)
class Reading:
    """How a row reads masks. `stated` says that the row itself names the threshold."""

    threshold: int = MASK_THRESHOLD
    stated: bool = False
    classes: tuple[Value, ...] = ()
    background: tuple[Value, ...] = ()
    inverted: bool = False

    @property
    def grey_background(self) -> list[int]:
        """The values of the background that are greys or class numbers."""
        return [value for value in self.background if isinstance(value, int)]


def holds_two_values(image: np.ndarray) -> bool:
    """Return whether uint8 (H, W, 3) holds two values, as a mask does."""
    step = max(1, min(image.shape[:2]) // SAMPLED_PX)
    sample = image[::step, ::step, 1]
    return bool(np.ptp(sample)) and two_valued_share(sample) > MASK_LIKE


def looks_exchanged(image: np.ndarray, read_pixels: Callable[[], np.ndarray]) -> bool:
    """Return whether uint8 (H, W, 3) holds two values, as a mask does, and the mask's pixels do not; only read then."""
    if not holds_two_values(image):
        return False
    pixels = read_pixels()
    return two_valued_share(pixels if pixels.ndim == 2 else pixels[..., 1]) < PHOTO_LIKE


def refuse_lossy_numbers(pixels: np.ndarray, reading: Reading) -> None:
    """Raise a BadImageError for the pixels of a JPEG that the row reads as class numbers: those between are made up."""
    read = reading.classes or (reading.threshold,)
    if not any(isinstance(value, int) and value < NUMBERS for value in read):
        return
    held = distinct(greys(pixels))
    if len(held) > 2 and int(held[-1]) < NUMBERS:
        raise BadImageError(
            f"holds class numbers {[int(v) for v in held[:6]]} in a JPEG, whose losses make up numbers: export "
            "it again as PNG",
            "grey_labels",
        )


def _refuse_photo(pixels: np.ndarray) -> None:
    if pixels.ndim == 3 and is_colourful(pixels):
        share = 1.0 if is_photo(pixels) else 0.0
    else:
        values = MaskValues(greys(pixels))
        share = values.grey_share if values.many else 0.0
    if share > PHOTO:
        raise BadImageError(
            f"is a photo: {100 * share:.0f} % of its pixels are neither black nor white; are images and masks "
            "exchanged, or is it a copy of the image, with the lesion drawn on it or not?",
            "photo_mask",
        )


def _refuse_lost_values(values: MaskValues, reading: Reading) -> None:
    """Raise a BadImageError where a threshold reads values as something that they are not."""
    if len(values.present) < 3:
        return
    numbers = [int(v) for v in values.present if 0 < v < NUMBERS]
    if reading.threshold < NUMBERS and numbers and set(values.present.tolist()) - {0, *numbers} == {255}:
        raise BadImageError(
            f"holds 255 beside the class numbers {numbers[:6]}, as VOC marks borders: add as_background: [255], or "
            "name it in `classes`",
            "void_mask",
        )
    if reading.threshold < NUMBERS <= int(values.present[-1]) and values.edges >= max(EDGES, len(values.areas)):
        raise BadImageError(
            f"is grey at its edges, {values.edges} values from interpolation or JPEG: mask_threshold "
            f"{reading.threshold} would make lesions larger; leave it out, or export class numbers again as PNG and "
            "without smoothing",
            "grey_labels",
        )
    if reading.stated or reading.threshold < NUMBERS:
        return
    if values.many:
        if values.grey_area_share > GREY_AREA:
            raise BadImageError(
                f"has areas of grey, {100 * values.grey_area_share:.0f} % of its pixels: is it cut out of the photo? "
                "Else export classes as PNG and name them, set mask_threshold: 0 for numbers of single objects, or say "
                f"where a soft mask is cut, mask_threshold: {reading.threshold}",
                "grey_area",
            )
        return
    floor = int(values.present[0])
    lost = [v for v in values.areas if floor < v <= reading.threshold and (values.codes == v).mean() > LEAST_AREA]
    if lost and int(values.present[-1]) > reading.threshold:
        raise BadImageError(
            f"has areas of {sorted(lost)}, which mask_threshold {reading.threshold} would lose: name all values in "
            f"`classes`, put those that are no lesion under `as_background`, or set mask_threshold below {min(lost)}",
            "lost_class",
        )


def read_values(pixels: np.ndarray, reading: Reading) -> np.ndarray:
    """Return the labels, uint8 (H, W), of a mask's pixels: {0, 1} by the threshold, or {0..K} by K classes.

    Raises: BadImageError for values that the row does not explain.
    """
    if pixels.ndim == 2 and not pixels.any():
        return np.full(pixels.shape, reading.inverted and not reading.classes, np.uint8)
    if reading.classes:
        return labels_of_values(pixels, reading.classes, reading.background)
    _refuse_photo(pixels)
    grey = greys(pixels)
    labels = threshold_mask(grey, reading.threshold, reading.background, inverted=reading.inverted)
    named = np.isin(grey, reading.grey_background)
    _refuse_lost_values(MaskValues(np.where(named, grey.min(), grey)), reading)
    return labels


def refuse_unnamed(pixels: np.ndarray, reading: Reading, known: Sequence[int], ignored: Sequence[int]) -> None:
    """Raise a BadImageError where a layout says what its labels are, and a mask or the row says otherwise.

    `known` are all labels that a list of the layout names, `ignored` those that stand for unlabelled pixels.
    """
    held = {int(value) for value in distinct(pixels)} if pixels.ndim == 2 else set()
    held -= set(reading.grey_background)
    if unlabelled := sorted(held & set(ignored)):
        raise BadImageError(
            f"holds {unlabelled}, which dataset.json calls ignore: pixels that nobody labelled are no lesion; set "
            f"as_background: {unlabelled}, or leave the pair out",
            "ignored",
        )
    strange = sorted(held - {0, *known})
    if known and strange and not reading.classes and reading.threshold < NUMBERS:
        raise BadImageError(
            f"holds {strange[:6]}, which dataset.json does not name: mend `labels` there, or export the labels again",
            "class_unknown",
        )
