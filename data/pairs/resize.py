"""Resizing images and masks: stretched to a square as in the paper, or into a square that keeps their proportions."""

import numpy as np
from PIL import Image

Array = np.ndarray
Size = tuple[int, int]  # width, height in px
Box = tuple[int, int, int, int]  # left, top, width, height in px


def resize_image(image: Array, size_px: int | Size, *, antialias: bool) -> Array:
    """Return uint8 of this side, or width and height, from uint8 (H, W, 3), stretched as in the paper.

    Without antialias it is OpenCV's bilinear, which the official code uses; with it, Pillow's bicubic, which is the
    sound choice for strong reductions (a 600 px photograph to 64 px).
    """
    size = (size_px, size_px) if isinstance(size_px, int) else size_px
    if antialias:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    import cv2

    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: Array, size_px: int | Size) -> Array:
    """Return uint8 of this side, or width and height, by nearest neighbour, from a mask or labels: no value is new."""
    import cv2

    size = (size_px, size_px) if isinstance(size_px, int) else size_px
    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)


def resize_pillow(image: Array, size_px: int) -> Array:
    """Return uint8 (size_px, size_px, ...), stretched by Pillow's bilinear, which smooths what it reduces."""
    return np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR))


def soften_mask(mask: Array, size_px: int) -> Array:
    """Return uint8 (size_px, size_px): the share of lesion in each pixel in 255ths, by Pillow's smooth bilinear."""
    return resize_pillow(mask * np.uint8(255), size_px)


def letterbox_box(size: Size, size_px: int) -> Box:
    """Return the box of an image of this width and height in a square of the side `size_px`, which it fills one way."""
    scale = size_px / max(size)
    inner_w, inner_h = (max(1, round(side * scale)) for side in size)
    return (size_px - inner_w) // 2, (size_px - inner_h) // 2, inner_w, inner_h


def framed_mask(labels: Array, size_px: int, *, letterbox: bool) -> tuple[Array, str]:
    """Return labels as (size_px, size_px), and the box that they fill as the manifest has it: empty for all of it."""
    if not letterbox or labels.shape[0] == labels.shape[1]:
        return (labels if labels.shape == (size_px, size_px) else resize_mask(labels, size_px)), ""
    box = letterbox_box((labels.shape[1], labels.shape[0]), size_px)
    framed = np.zeros((size_px, size_px), np.uint8)
    crop(framed, box)[:] = resize_mask(labels, box[2:])
    return framed, " ".join(map(str, box))


def lost_labels(own: Array, framed: Array) -> list[int]:
    """Return the labels of a mask that are no more in its resized copy, the background left out."""
    return sorted(set(np.unique(own).tolist()) - set(np.unique(framed).tolist()) - {0})


def letterbox(image: Array, mask: Array, size_px: int, *, antialias: bool) -> tuple[Array, Array, str]:
    """Return image and mask as squares of the side `size_px` that keep their proportions, and the box they lie in.

    The longer side fills the square, and what is left on both sides of the shorter one is black and no lesion. The box
    is text as the manifest has it, empty where they fill the square.
    """
    box = letterbox_box((image.shape[1], image.shape[0]), size_px)
    framed = np.zeros((size_px, size_px, 3), np.uint8)
    framed_mask = np.zeros((size_px, size_px), np.uint8)
    crop(framed, box)[:] = resize_image(image, box[2:], antialias=antialias)
    crop(framed_mask, box)[:] = resize_mask(mask, box[2:])
    return framed, framed_mask, " ".join(map(str, box)) if min(box[2:]) < size_px else ""


def crop(array: Array, box: Box) -> Array:
    """Return the part (height, width, ...) of an array (H, W, ...) that lies in the box, without a copy."""
    left, top, width, height = box
    return array[top : top + height, left : left + width]
