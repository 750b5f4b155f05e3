"""Reading one pair as its owner keeps it."""

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from PIL import Image

from data.mask_files.pixels import mask_pixels
from data.mask_files.read import Reading, looks_exchanged, read_values, refuse_lossy_numbers, refuse_unnamed
from data.pairs.errors import BadImageError, naming
from data.pairs.image_io import is_jpeg, is_turned, read_image
from data.pairs.parallel import Budget
from data.readers.sources import Source

PIXELS = Budget(2**27)  # in work at a time, on all cores together, at about 8 bytes each; a larger picture comes alone


def memory_for(source: Source) -> AbstractContextManager[None]:
    """Return what holds the memory that a pair needs to be read, so that large ones are read one after the other."""
    pixels = 0
    for path in source.pictures:
        with contextlib.suppress(Exception), Image.open(path) as picture:  # what cannot be opened is named when read
            pixels += picture.width * picture.height
    return PIXELS.share(pixels)


def _refuse_pages(path: Path) -> None:
    pages = 1
    with contextlib.suppress(Exception), Image.open(path) as picture:  # what cannot be opened is named by its reader
        pages = getattr(picture, "n_frames", 1)
    if pages > 1:
        what = f"holds {pages} pictures, of which only the first would be read"
        raise BadImageError(f"{what}: save each as a file of its own", "several_pages")


def read_masks(source: Source, reading: Reading) -> np.ndarray:
    """Return the labels, uint8 (H, W), of the masks of a pair of pictures; where several overlap, the later class.

    The image is not looked at. Raises: BadImageError with the file's name, as `read_source`.
    """
    masks = []
    for path in source.masks:
        with naming(path):
            _refuse_pages(path)
            pixels = mask_pixels(path)
            refuse_unnamed(pixels, reading, source.known, source.ignored)
            if is_jpeg(path):
                refuse_lossy_numbers(pixels, reading)
            masks.append(read_values(pixels, reading))
    for path, mask in zip(source.masks, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise BadImageError(f"{path}: differs in size from {source.masks[0].name}", "size_mismatch")
    return np.maximum.reduce(masks)


def size_text(array: np.ndarray) -> str:
    """Return the size of an array (H, W, ...) as width x height, such as 622x529."""
    return f"{array.shape[1]}x{array.shape[0]}"


def read_image_alone(source: Source) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), of a pair or of an image without a mask; masks are not looked at.

    Raises: BadImageError with the file's name for a file that cannot be read.
    """
    if source.reader:
        return source.reader.image_alone()
    planes = []
    for path in (source.image, *source.channels):
        with naming(path):
            planes.append(read_image(path))
    if len({plane.shape for plane in planes}) > 1:
        raise BadImageError(f"{source.image}: its channels differ in size", "size_mismatch")
    return np.stack([plane[..., 0] for plane in planes], axis=-1) if source.channels else planes[0]


def read_source(source: Source, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, uint8 (H, W, 3), and the mask, uint8 (H, W), of a pair, as the row reads masks.

    Without classes the mask is in {0, 1}: any of its files is above the threshold. With K of them it is k + 1 where a
    file has the value classes[k], a grey or an RGB colour; where files overlap, the later class counts.

    Raises: BadImageError with the file's name, for a file that cannot be read, or not as the row reads it, and for
    sizes that differ.
    """
    if source.reader:
        return source.reader.read(reading)
    image = read_image_alone(source)
    if looks_exchanged(image, lambda: mask_pixels(source.masks[0])):
        raise BadImageError(
            f"{source.image}: has two values, as masks do, and {source.masks[0].name} has many: are images and masks "
            "exchanged?",
            "exchanged",
        )
    mask = read_masks(source, reading)
    if mask.shape != image.shape[:2]:
        turned = [path.name for path in (source.image, source.masks[0]) if is_turned(path)]
        why = f"; {' and '.join(turned)} has an EXIF turn, which is applied" if len(turned) == 1 else ""
        sizes = f"is {size_text(image)} but its mask {source.masks[0].name} is {size_text(mask)}"
        raise BadImageError(f"{source.image}: {sizes}{why}", "size_mismatch")
    return image, mask
