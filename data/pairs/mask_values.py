"""What the values of somebody's mask are: classes, edges between two of them, or the greys of a photo.

A value is an area when it fills a square of 5 x 5 pixels somewhere, or one of 3 x 3 that is no step up to a greater
value: edges that JPEG, interpolation or antialiasing made do neither. Measured on 300 masks of Kvasir-SEG: as published
14 to 18 values; reduced to 64 px and saved as JPEG of quality 30, up to 5.4 % of the pixels grey (33-222), none of them
flat, and at least 92 % within 16 greys of the darkest or the brightest one. Of photos (Kvasir-SEG, PH2, phantoms) at
least 37 % are grey, 15 % are grey and flat, and at most 40 % are so near to the darkest or the brightest grey.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from data.pairs.image_io import (
    MASK_THRESHOLD,
    BadImageError,
    Value,
    greys,
    is_colourful,
    labels_of_values,
    threshold_mask,
)

NUMBERS = 32  # values below are class numbers
MOST_VALUES = 9  # JPEG's greys are more
LEAST_AREA = 0.002  # share of the pixels that a value must have to be missed
DARK, BRIGHT, FLAT = 32, 223, 16  # greys lie between the first two; flat is a square of 3 x 3 that differs by less
PHOTO, GREY_AREA = 0.5, 0.01  # shares of the pixels that are grey, and that are grey and flat
NEAR, MASK_LIKE, PHOTO_LIKE = 16, 0.98, 0.9  # of the darkest and brightest grey; shares of the pixels that are as near
SAMPLED_PX = 96  # a side of the image is looked at in so many places
EDGES = 3  # greys between areas from which on, where areas are no more, they are edges and not small objects
VOID = (224, 224, 192)  # of VOC's borders and unlabelled pixels, where they are no class number but a colour


@dataclass(frozen=True)
class Reading:
    """How a row reads masks. `stated` says that the row itself names the threshold."""

    threshold: int = MASK_THRESHOLD
    stated: bool = False
    classes: tuple[Value, ...] = ()
    background: tuple[Value, ...] = ()
    inverted: bool = False


def _distinct(codes: np.ndarray) -> np.ndarray:
    """Return the distinct numbers, sorted; faster than np.unique where they are small."""
    if codes.dtype == np.uint8:
        return np.flatnonzero(Image.fromarray(codes if codes.ndim == 2 else codes[None]).histogram())
    small = codes.size and codes.min() >= 0 and codes.max() < 1 << 16
    return np.flatnonzero(np.bincount(codes.ravel())) if small else np.unique(codes)


@dataclass(frozen=True)
class MaskValues:
    """The values of one mask of (H, W) or (H, W, 3)."""

    pixels: np.ndarray

    @cached_property
    def codes(self) -> np.ndarray:
        """One number a pixel: the grey, or the colour as 0xRRGGBB."""
        if self.pixels.ndim == 2:
            return self.pixels if self.pixels.dtype == np.uint8 else self.pixels.astype(np.int32)
        return (self.pixels.astype(np.int32) << np.array([16, 8, 0], np.int32)).sum(2)

    @cached_property
    def present(self) -> np.ndarray:
        """The distinct codes, sorted."""
        return _distinct(self.codes)

    def _around(self, side_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest code in the square about each pixel, two of (H, W)."""
        import cv2

        codes, square = self.codes, np.ones((side_px, side_px), np.uint8)
        codes = codes if codes.dtype == np.uint8 else codes.astype(np.float32)
        return cv2.erode(codes, square), cv2.dilate(codes, square)

    @cached_property
    def areas(self) -> frozenset[int]:
        """The codes that fill a square of 5 x 5 pixels, or of 3 x 3 with nothing greater near them."""
        (low, high), (low5, high5), (_, high9) = (self._around(side) for side in (3, 5, 9))
        return frozenset(_distinct(self.codes[(low5 == high5) | ((low == high) & (high == high9))]).tolist())

    @cached_property
    def edges(self) -> int:
        """How many values are no area and lie between their neighbours."""
        low, high = self._around(3)
        between = _distinct(self.codes[(low < self.codes) & (self.codes < high)])
        return len(set(between.tolist()) - self.areas)

    def fills(self, code: int, side_px: int) -> bool:
        """Return whether a value fills a square of that side somewhere."""
        low, high = self._around(side_px)
        return bool(((low == high) & (self.codes == code)).any())

    @property
    def many(self) -> bool:
        """Whether there are more values than a mask of classes has."""
        return len(self.present) > MOST_VALUES and int(self.present[-1]) >= NUMBERS

    @cached_property
    def _grey(self) -> np.ndarray:
        return (self.codes > DARK) & (self.codes < BRIGHT)

    @property
    def grey_share(self) -> float:
        """Share of the pixels of (H, W) that are neither nearly black nor nearly white, 0-1."""
        return float(self._grey.mean())

    @property
    def grey_area_share(self) -> float:
        """Share of the pixels of (H, W) that are grey and hardly differ from their neighbours, 0-1."""
        low, high = self._around(3)
        return float((self._grey & (high - low <= FLAT)).mean())

    @property
    def labels(self) -> list[Value]:
        """The values beside black where they are few: class numbers, with 255 beside them, or else those of areas."""
        if self.many or (self.pixels.ndim == 3 and len(self.present) > MOST_VALUES):
            return []
        grey = self.pixels.ndim == 2
        codes = [int(code) for code in self.present if code]
        numbers = {code for code in codes if grey and code < NUMBERS}
        if {*codes} - numbers and ({*codes} - numbers != {255} or not numbers & self.areas):
            codes = [code for code in codes if code in self.areas or (not grey and code == 0xE0E0C0)]
        return [code if grey else (code >> 16, code >> 8 & 255, code & 255) for code in codes]


def void_among(labels: Collection[Value]) -> frozenset[Value]:
    """Return the values that mark borders: 255 beside class numbers, or VOC's pale colour beside others."""
    others = {value for value in labels if value not in (255, VOID)}
    numbers = bool(others) and all(isinstance(value, int) and value < NUMBERS for value in others)
    return frozenset(value for value in labels if (value == 255 and numbers) or (value == VOID and others))


def is_photo(colours: np.ndarray) -> bool:
    """Return whether under 90 % of the pixels of uint8 (H, W, 3) are of nine colours, by four bits a channel."""
    bins = (colours.astype(np.int32) >> 4 << np.array([8, 4, 0], np.int32)).sum(2)
    counts = np.sort(np.bincount(bins.ravel(), minlength=4096))
    return bool(counts[-MOST_VALUES:].sum() < 0.9 * bins.size)


def two_valued_share(grey: np.ndarray) -> float:
    """Return the share of the pixels of uint8 (H, W) that are near the darkest or the brightest one, 0-1."""
    low, high = int(grey.min()), int(grey.max())
    near = min(NEAR, (high - low) // 3)
    return float(((grey <= low + near) | (grey >= high - near)).mean())


def looks_exchanged(image: np.ndarray, read_pixels: Callable[[], np.ndarray]) -> bool:
    """Return whether uint8 (H, W, 3) holds two values, as a mask does, and the mask's pixels do not; only read then."""
    step = max(1, min(image.shape[:2]) // SAMPLED_PX)
    sample = image[::step, ::step, 1]
    if not np.ptp(sample) or two_valued_share(sample) <= MASK_LIKE:
        return False
    pixels = read_pixels()
    return two_valued_share(pixels if pixels.ndim == 2 else pixels[..., 1]) < PHOTO_LIKE


def refuse_lossy_numbers(pixels: np.ndarray, reading: Reading) -> None:
    """Raise a BadImageError for the pixels of a JPEG that the row reads as class numbers: those between are made up."""
    by_number = any(isinstance(value, int) and value < NUMBERS for value in reading.classes) or (
        not reading.classes and reading.threshold < NUMBERS
    )
    if not by_number:
        return
    held = _distinct(greys(pixels))
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
            "exchanged, or is it a copy of the image?",
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
                f"has areas of grey, {100 * values.grey_area_share:.0f} % of its pixels: export classes as PNG and "
                "name them, set mask_threshold: 0 for numbers of single objects, or say where a soft mask is cut, "
                f"mask_threshold: {reading.threshold}",
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
    named = np.isin(grey, [value for value in reading.background if isinstance(value, int)])
    labels = threshold_mask(grey, reading.threshold, reading.background, inverted=reading.inverted)
    _refuse_lost_values(MaskValues(np.where(named, grey.min(), grey)), reading)
    return labels


def refuse_unnamed(pixels: np.ndarray, reading: Reading, known: Sequence[int], ignored: Sequence[int]) -> None:
    """Raise a BadImageError where a layout says what its labels are, and a mask or the row says otherwise.

    `known` are all labels that a list of the layout names, `ignored` those that stand for unlabelled pixels.
    """
    held = {int(value) for value in _distinct(pixels)} if pixels.ndim == 2 else set()
    unlabelled = sorted(held & set(ignored) - {value for value in reading.background if isinstance(value, int)})
    if unlabelled:
        raise BadImageError(
            f"holds {unlabelled}, which dataset.json calls ignore: pixels that nobody labelled are no lesion; set "
            f"as_background: {unlabelled}, or leave the pair out",
            "ignored",
        )
    strange = sorted(held - {0, *known, *(value for value in reading.background if isinstance(value, int))})
    if known and strange and not reading.classes and reading.threshold < NUMBERS:
        raise BadImageError(
            f"holds {strange[:6]}, which dataset.json does not name: mend `labels` there, or export the labels again",
            "class_unknown",
        )
