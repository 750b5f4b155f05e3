"""Contact sheets: cells in a grid with titles and captions, masks as outlines. The same input gives the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.pairs.resize import resize_mask

GAP_PX, HEADER_PX, FONT_PX = 6, 24, 14
PAPER, INK, EMPTY, ALARM = (255, 255, 255), (32, 36, 40), (232, 234, 236), (179, 38, 30)
BRIGHT = (((0, 0, 0), 4), ((0, 255, 255), 2))

Array = np.ndarray
Colour = tuple[int, int, int]
Lines = Sequence[tuple[Colour, int]]  # colour and width in px, drawn one over the other
T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return up to `most` items in their order, spread evenly from the first to the last."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)]


def reduced(image: Array, size_px: tuple[int, int]) -> Array:
    """Return uint8 (H, W, 3) at a smaller width and height, each pixel the mean of those that it covers."""
    import cv2

    return cv2.resize(image, size_px, interpolation=cv2.INTER_AREA)


def enlarged(image: Array, cell_px: int) -> Array:
    """Return uint8 (cell_px, cell_px, 3), smooth, of an image of any size."""
    return np.array(Image.fromarray(image).resize((cell_px, cell_px), Image.Resampling.LANCZOS))


def enlarged_mask(mask: Array, cell_px: int, *, smooth: bool = True) -> Array:
    """Return bool (cell_px, cell_px), with smooth borders or with those of its pixels, of uint8 (H, W) in {0, 1}."""
    grey = Image.fromarray(mask * np.uint8(255))
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.array(grey.resize((cell_px, cell_px), how)) > 127


def outlined(image: Array, mask: Array, lines: Lines = BRIGHT, *, fine: bool = True) -> Array:
    """Return uint8 (H, W, 3): a copy of the image with lines around the mask, which is brought to the image's size.

    Fine ones have soft edges and go around holes too.
    """
    import cv2

    lesion = resize_mask((mask > 0).astype(np.uint8), (image.shape[1], image.shape[0]))
    contours, _ = cv2.findContours(lesion, cv2.RETR_LIST if fine else cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    for colour, width_px in lines:
        drawn = cv2.drawContours(drawn, contours, -1, colour, width_px, cv2.LINE_AA if fine else cv2.LINE_8)
    return drawn


def empty(cell_px: int) -> Array:
    """Return uint8 (cell_px, cell_px, 3), a grey field in the place of an image that is not there."""
    return np.full((cell_px, cell_px, 3), EMPTY, np.uint8)


class Sheet:
    """A white sheet of cells in a grid, with titles above the columns; `step_px` is from one cell to the next."""

    def __init__(self, columns: int, rows: int, step_px: tuple[int, int], titles: Sequence[str] = ()) -> None:
        self.step_px, self.top = step_px, GAP_PX + (HEADER_PX if titles else 0)
        size = (GAP_PX + columns * step_px[0], self.top + rows * step_px[1])
        self.image = Image.new("RGB", size, PAPER)
        self._draw, self._font = ImageDraw.Draw(self.image), ImageFont.load_default(FONT_PX)
        for column, title in enumerate(titles):
            self.write(column, 0, title, (0, -HEADER_PX))

    def _place(self, column: int, row: int, right_px: int = 0, down_px: int = 0) -> tuple[int, int]:
        return GAP_PX + column * self.step_px[0] + right_px, self.top + row * self.step_px[1] + down_px

    def paste(self, column: int, row: int, picture: Array) -> None:
        """Put uint8 (H, W, 3) into a cell."""
        self.image.paste(Image.fromarray(picture), self._place(column, row))

    def write(
        self, column: int, row: int, text: str, shift_px: tuple[int, int], colour: Colour = INK, *, most_px: int = 0
    ) -> None:
        """Write one line, right and down of the cell's corner by `shift_px`; cut in its middle to `most_px`."""
        while most_px and self._font.getlength(text) > most_px and len(text) > 9:
            half = (len(text) - 4) // 2
            text = f"{text[:half]}...{text[-half:]}".replace("......", "...")
        self._draw.text(self._place(column, row, *shift_px), text, colour, self._font)

    def save(self, path: Path) -> None:
        """Write the sheet as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.image.save(path, format="PNG", optimize=True)


def tiled(cells: Sequence[Array], columns: int, cell_px: int, gap_px: int = 0, paper: Colour = PAPER) -> Array:
    """Return uint8 (H, W, 3): cells uint8 (up to cell_px square, 3) row by row, a gap right of and below each."""
    step = cell_px + gap_px
    sheet = np.full((-(-len(cells) // columns) * step, columns * step, 3), paper, np.uint8)
    for number, cell in enumerate(cells):
        top, left = number // columns * step, number % columns * step
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet
