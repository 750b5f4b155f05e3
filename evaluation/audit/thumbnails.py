"""Thumbnails that tell a copy of an image when it is moved, cropped, turned, mirrored, recoloured or another exposure.

Of two images, the middle of the first is held against windows of the second: a copy that was moved or cropped by 5 %
shows in its middle what one of the windows of its original shows.
"""

from collections.abc import Iterator, Sequence

import numpy as np

SIDE = 32
TILE = 16
SMALLEST_SD = 1.0  # grey levels; less is no content, and must not be blown up to be compared
MIDDLE = (0.9, 0.0, 0.0)
ALL_AROUND = [(down, right) for down in (-0.05, 0.0, 0.05) for right in (-0.05, 0.0, 0.05)]
# side of the window, and of its centre the way from the middle of the image down and to the right; the image is 1
WINDOWS = [(side, *way) for side in (0.8, 0.85, 0.9) for way in ALL_AROUND] + [(0.95, 0.0, 0.0), (1.0, 0.0, 0.0)]


def thumbnails(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return float16 (N, 32, 32, 3) of N uint8 (H, W, 3): means over areas, in grey levels; any size is stretched."""
    import cv2

    floats = (image.astype(np.float32) for image in images)
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in floats]
    return np.stack(small).astype(np.float16)


def middles(small: np.ndarray) -> np.ndarray:
    """Return the tiles of the middle of N thumbnails, float32 (N, 16, 16, 3), as `windows` makes them."""
    return _tiles(small, *MIDDLE)


def windows(small: np.ndarray) -> Iterator[np.ndarray]:
    """Yield for each of WINDOWS the tiles of N thumbnails, float32 (N, 16, 16, 3).

    Each channel of a tile has mean zero and unit deviation, which makes a copy in other colours or of another exposure
    the same tile. One of a single colour is zeros, no nearer to any picture than pictures are to each other. Tiles are
    scaled so that the distance between two is the root mean square of their differences.
    """
    for window in WINDOWS:
        yield _tiles(small, *window)


def symmetries(images: np.ndarray) -> list[np.ndarray]:
    """Return the 8 flips and quarter turns of (N, H, H, ...), the images as they are first."""
    return [np.rot90(turned, turns, (1, 2)) for turned in (images, images[:, :, ::-1]) for turns in range(4)]


def _tiles(small: np.ndarray, side: float, down: float, right: float) -> np.ndarray:
    rows, columns = (_means(0.5 + way - side / 2, 0.5 + way + side / 2) for way in (down, right))
    planes = np.moveaxis(small.astype(np.float32), 3, 1)
    tiles = rows @ (planes @ columns.T)
    tiles -= tiles.mean((2, 3), keepdims=True)
    tiles /= np.maximum(tiles.std((2, 3), keepdims=True), SMALLEST_SD) * np.float32(TILE * planes.shape[1] ** 0.5)
    return np.moveaxis(tiles, 1, 3)


def _means(start: float, end: float) -> np.ndarray:
    """Return float32 (16, 32): the shares of the 32 cells in each of 16 equal parts between two places in 0-1."""
    edges, cells = SIDE * np.linspace(start, end, TILE + 1), np.arange(SIDE)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    shared = shared.clip(0)
    return (shared / shared.sum(1, keepdims=True)).astype(np.float32)
