"""Ways to write one lesion into a mask file, right ones and those that users' tools leave behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tests.data.pairs.real_pairs import disk

SIZE = 96
PAIRS = 6
Array = np.ndarray


def lesion(number: int) -> Array:
    """Return uint8 (96, 96) in {0, 1}: a disc that touches no border."""
    return disk(34 + 4 * number, 60 - 3 * number, 12 + number % 3, SIZE)


def noise(number: int) -> Array:
    """Return uint8 (96, 96, 3): an image that no other resembles."""
    coarse = np.random.default_rng(number).integers(40, 220, (12, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def truth() -> float:
    """Return the share of lesion pixels in all masks."""
    return float(np.mean([lesion(number) for number in range(PAIRS)]))


def write(root: Path, encode: Callable[[Array, int], Image.Image], ending: str = ".png", **options) -> Path:
    """Write images/ and masks/ of six pairs, the masks as `encode(lesion, number)` makes them."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(PAIRS):
        Image.fromarray(noise(number)).save(root / f"images/case{chr(97 + number)}.png")
        encode(lesion(number), number).save(root / f"masks/case{chr(97 + number)}{ending}", **options)
    return root


def grey(value: int) -> Callable[[Array, int], Image.Image]:
    return lambda mask, _: Image.fromarray(mask * np.uint8(value))


def colour(*value: int) -> Callable[[Array, int], Image.Image]:
    return lambda mask, _: Image.fromarray(mask[..., None] * np.array(value, np.uint8))


def alpha(background: int, inside: int) -> Callable[[Array, int], Image.Image]:
    """Return an encoding with the mask in the alpha channel, and greys of their own below it."""

    def encode(mask: Array, _: int) -> Image.Image:
        below = np.where(mask, inside, background).astype(np.uint8)
        return Image.fromarray(np.dstack([below, below, below, mask * np.uint8(255)]))

    return encode


def grey_alpha(mask: Array, _: int) -> Image.Image:
    return Image.fromarray(np.dstack([mask * np.uint8(0), mask * np.uint8(255)]), "LA")


def palette(colours: list[int]) -> Callable[[Array, int], Image.Image]:
    def encode(mask: Array, _: int) -> Image.Image:
        picture = Image.fromarray(mask, "P")
        picture.putpalette(colours + [0] * (768 - len(colours)))
        return picture

    return encode


def bordered(mask: Array, _: int) -> Image.Image:
    """Return class number 1 with a line of 255 about it, as in PASCAL VOC."""
    outer = np.asarray(Image.fromarray(mask).filter(ImageFilter.MaxFilter(5)))
    return Image.fromarray(np.where(mask, 1, outer * np.uint8(255)).astype(np.uint8))


def voc_palette(mask: Array, number: int) -> Image.Image:
    labels = np.asarray(bordered(mask, number))
    picture = Image.fromarray(labels, "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, *[0] * (3 * 253), 224, 224, 192])
    return picture


def smooth(radius: float) -> Callable[[Array, int], Image.Image]:
    return lambda mask, _: Image.fromarray(mask * np.uint8(255)).filter(ImageFilter.GaussianBlur(radius))


def interpolated(mask: Array, _: int) -> Image.Image:
    """Return what a label of 0 and 255 becomes when it is reduced and enlarged again with bilinear weights."""
    small = Image.fromarray(mask * np.uint8(255)).resize((48, 48), Image.Resampling.NEAREST)
    return small.resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def antialiased(_: Array, number: int) -> Image.Image:
    """Return the disc drawn at twice its size and reduced by means of 2 x 2 pixels."""
    large = disk(68 + 8 * number, 120 - 6 * number, 24 + 2 * (number % 3), 2 * SIZE)
    return Image.fromarray(large * np.uint8(255)).resize((SIZE, SIZE), Image.Resampling.BOX)


def two_classes(mask: Array, number: int) -> Array:
    """Return labels: 1 in the lesion's left half, 2 in its right half."""
    columns = np.flatnonzero(mask.any(0))
    labels = mask.copy()
    labels[:, int(columns.mean()) :] *= 2
    return labels


def classes(*values: int) -> Callable[[Array, int], Image.Image]:
    return lambda mask, number: Image.fromarray(np.array([0, *values], np.uint8)[two_classes(mask, number)])


def objects(mask: Array, number: int) -> Image.Image:
    """Return the lesion cut into squares of 6 px, each with a number of its own between 1 and 250."""
    ys, xs = np.mgrid[:SIZE, :SIZE] // 6
    numbers = np.random.default_rng(number).permutation(250)[: (SIZE // 6) ** 2 // 2] + 1
    return Image.fromarray(np.where(mask, numbers[(ys * (SIZE // 6) + xs) % len(numbers)], 0).astype(np.uint8))


def constant(value: int) -> Callable[[Array, int], Image.Image]:
    return lambda mask, _: Image.fromarray(np.full_like(mask, value))


def inverted(value: int) -> Callable[[Array, int], Image.Image]:
    return lambda mask, _: Image.fromarray((1 - mask) * np.uint8(value))


def photo(mask: Array, number: int) -> Image.Image:
    return Image.fromarray(noise(number + 50)).convert("L")


def colour_photo(mask: Array, number: int) -> Image.Image:
    return Image.fromarray(noise(number + 50))


def itself(mask: Array, number: int) -> Image.Image:
    return Image.fromarray(noise(number))


def cut_out(mask: Array, number: int) -> Image.Image:
    """Return the image with the mask in its alpha channel."""
    return Image.fromarray(np.dstack([noise(number), mask * np.uint8(255)]))


def outline(width_px: int) -> Callable[[Array, int], Image.Image]:
    """Return an encoding with the lesion's edge alone, a line of that many pixels."""

    def encode(mask: Array, _: int) -> Image.Image:
        inner = np.asarray(Image.fromarray(mask).filter(ImageFilter.MinFilter(2 * width_px + 1)))
        return Image.fromarray((mask - inner) * np.uint8(255))

    return encode


def framed(mask: Array, _: int) -> Image.Image:
    """Return the lesion with a white line of 1 px about the picture."""
    return Image.fromarray(np.pad(mask[1:-1, 1:-1], 1, constant_values=1) * np.uint8(255))


def grey_cut_out(mask: Array, number: int) -> Image.Image:
    """Return the image in grey where lesion is, and black."""
    return Image.fromarray(np.asarray(Image.fromarray(noise(number)).convert("L")) * mask)


def probability(mask: Array, number: int) -> Image.Image:
    """Return a map that is nowhere sure."""
    smoothed = np.asarray(smooth(8)(mask, number)).astype(float)
    return Image.fromarray((40 + smoothed * 0.8).astype(np.uint8))
