"""Contact sheets: cells in a grid with titles and captions, masks as outlines. The same input gives the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from data.pairs.resize import resize_mask

GAP_PX, HEADER_PX, FONT_PX = 6, 24, 14
PAPER, INK, EMPTY = (255, 255, 255), (32, 36, 40), (232, 234, 236)
# What a colour means, in every picture of the project.
COLOURS = {
    "real": "#202428",  # pairs, and the curve of those alone
    "duplicate": "#767676",
    "mask": "#00ffff",  # an outline: the truth, or what was asked for
    "prediction": "#ffff00",  # an outline
    "copy": "#b3261e",
}
# Whatever else makes pairs, one after the other: told apart with any colour vision (Okabe and Ito; Tol's muted ones).
MADE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#882255", "#117733", "#332288", "#999933", "#aa4499", "#44aa99"),
)

Array = np.ndarray
Colour = tuple[int, int, int]
Lines = Sequence[tuple[Colour, int]]  # colour and width in px, drawn one over the other
T = TypeVar("T")


def rgb(name: str) -> Colour:
    """Return one of COLOURS as red, green, blue in 0-255."""
    return ImageColor.getrgb(COLOURS[name])[:3]


def line(name: str, width_px: int = 2) -> Lines:
    """Return an outline in one of COLOURS, with a black edge of 1 px on both sides."""
    return (((0, 0, 0), width_px + 2), (rgb(name), width_px))


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


def outlined(image: Array, mask: Array, lines: Lines, *, fine: bool = True) -> Array:
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
    """A white sheet of cells in a grid, with titles above the columns; `step_px` is from one cell to the next.

    `outlines` are names of COLOURS that a line below the cells explains.
    """

    def __init__(
        self,
        columns: int,
        rows: int,
        step_px: tuple[int, int],
        titles: Sequence[str] = (),
        outlines: Sequence[str] = (),
    ) -> None:
        self.step_px, self.top = step_px, GAP_PX + (HEADER_PX if titles else 0)
        end_px = self.top + rows * step_px[1]
        size = (GAP_PX + columns * step_px[0], end_px + (HEADER_PX if outlines else 0))
        self.image = Image.new("RGB", size, PAPER)
        self._draw, self._font = ImageDraw.Draw(self.image), ImageFont.load_default(FONT_PX)
        for column, title in enumerate(titles):
            self.write(column, 0, title, (0, -HEADER_PX))
        for number, name in enumerate(outlines):
            left_px = GAP_PX + 120 * number
            self._draw.rectangle((left_px, end_px, left_px + 16, end_px + 16), fill=(0, 0, 0))
            self._draw.rectangle((left_px + 3, end_px + 3, left_px + 13, end_px + 13), fill=rgb(name))
            self._draw.text((left_px + 22, end_px), name, INK, self._font)

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
