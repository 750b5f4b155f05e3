"""What the values of somebody's mask are: classes, edges between two of them, or the greys of a photo.

A value is an area when it fills a square of 5 x 5 pixels somewhere, or one of 3 x 3 that is no step up to a greater
value: edges that JPEG, interpolation or antialiasing made do neither. Measured on 300 masks of Kvasir-SEG: as published
14 to 18 values; reduced to 64 px and saved as JPEG of quality 30, up to 5.4 % of the pixels grey (33-222), none of them
flat, and at least 92 % within 16 greys of the darkest or the brightest one. Of photos (Kvasir-SEG, PH2, phantoms) at
least 37 % are grey, 15 % are grey and flat, and at most 40 % are so near to the darkest or the brightest grey.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from data.pairs.image_io import Value

NUMBERS = 32  # values below are class numbers
MOST_VALUES = 9  # JPEG's greys are more
DARK, BRIGHT, FLAT = 32, 223, 16  # greys lie between the first two; flat is a square of 3 x 3 that differs by less
NEAR = 16  # greys as near to the darkest or the brightest one
VOID = (224, 224, 192)  # of VOC's borders and unlabelled pixels, where they are no class number but a colour


def distinct(codes: np.ndarray) -> np.ndarray:
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
        return distinct(self.codes)

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
        return frozenset(distinct(self.codes[(low5 == high5) | ((low == high) & (high == high9))]).tolist())

    @cached_property
    def edges(self) -> int:
        """How many values are no area and lie between their neighbours."""
        low, high = self._around(3)
        between = distinct(self.codes[(low < self.codes) & (self.codes < high)])
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
        """Share of the pixels of (H, W) that are grey and hardly differ from their neighbours, or have none but grey.

        The latter, in a square of 7 x 7, has no pixel of Kvasir-SEG's and PH2's masks: edges are narrower.
        """
        (low, high), (low7, high7) = self._around(3), self._around(7)
        return float((self._grey & ((high - low <= FLAT) | ((low7 > DARK) & (high7 < BRIGHT)))).mean())

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
