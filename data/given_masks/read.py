"""One mask that somebody gives to a generator, a file, a picture or an array, read as strictly as a data set's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from data.config_errors import validated
from data.layouts.mask_folder import read_mask_file
from data.mask_files.pixels import picture_pixels
from data.mask_files.read import Reading, read_values
from data.pairs.config import ClassName, Config, Values, value_problems
from data.pairs.errors import BadImageError, UserError, naming
from data.pairs.image_io import MASK_THRESHOLD, Array, levels
from data.pairs.manifest import Pair
from data.pairs.resize import framed_mask, lost_labels
from data.readers.reading import size_text

Mask = str | Path | Image.Image | Array


class HowToRead(Config):
    """How masks are read: keys of a data-set row, with their meaning and defaults."""

    mask_threshold: int = Field(default=MASK_THRESHOLD, ge=0, le=254)
    classes: dict[ClassName, Values] = Field(default={})
    as_background: tuple[Values, ...] = ()
    inverted_masks: bool | None = None
    fit: Literal["stretch", "letterbox"] = "stretch"

    @model_validator(mode="after")
    def _values_are_clear(self) -> "HowToRead":
        if problems := list(value_problems(self.classes, self.as_background, inverted=bool(self.inverted_masks))):
            raise ValueError("; ".join(problems))
        return self


class Wanted(NamedTuple):
    """What masks are made to be: squares of a side, with labels 1, 2, ... of classes."""

    size_px: int
    classes: tuple[str, ...]
    how: HowToRead = HowToRead()

    @property
    def reading(self) -> Reading:
        """How values become labels; without a word on several classes, as prepared masks have them."""
        how = self.how
        values = tuple(how.classes[name] for name in self.classes) if how.classes else ()
        if not values and len(self.classes) > 1:
            values = tuple(int(grey) for grey in levels(len(self.classes))[1:])
        stated = "mask_threshold" in how.model_fields_set
        return Reading(how.mask_threshold, stated, values, how.as_background, bool(how.inverted_masks))


class Given(NamedTuple):
    """One mask as a generator takes it. `pair` has no files yet; a mask that a data set has prepared keeps its row."""

    pair: Pair
    labels: Array  # uint8 (size_px, size_px) in {0..K}
    own: Array  # as it was given, uint8 (H, W) in {0..K}


def how_to_read(values: Mapping[str, Any], classes: Sequence[str]) -> HowToRead:
    """Return how to read masks of these classes. Raises: UserError for another key or value, or other classes."""
    keys = ", ".join(HowToRead.model_fields)
    how = validated(HowToRead, values, f"how masks are read is not clear; keys are those of a data-set row: {keys}")
    if how.classes and set(how.classes) != set(classes):
        what = ", ".join(classes)
        raise UserError(f"reading.classes names {', '.join(how.classes)}, but the generator knows {what}: name these")
    return how


def _array_labels(array: Array, wanted: Wanted) -> Array:
    """Return labels of an array: of booleans, of labels 0 to K, or what a picture of its values would say."""
    if array.dtype.kind not in "biu" and not (array.dtype.kind == "f" and np.isin(array, (0, 1)).all()):
        raise BadImageError(f"is an array of {array.dtype}: give booleans, labels or values 0 to 255", "not_an_image")
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        raise BadImageError(f"is an array of shape {array.shape}: give (H, W), or (H, W, 3) of colours", "not_an_image")
    if array.min() < 0 or array.max() > 255:
        raise BadImageError("is an array with values outside 0 to 255: convert it to 8 bits first", "sixteen_bit")
    values = array.astype(np.uint8)
    if array.ndim == 2 and not wanted.how.model_fields_set - {"fit"} and values.max() <= len(wanted.classes):
        return values
    return read_values(values, wanted.reading)


def labels_of(mask: Mask, wanted: Wanted, where: str) -> Array:
    """Return uint8 (H, W) in {0..K}. Raises: BadImageError with `where` for what is not read."""
    if isinstance(mask, str | Path):
        return read_mask_file(Path(mask), wanted.reading)
    with naming(where):
        if isinstance(mask, np.ndarray):
            return _array_labels(mask, wanted)
        if not isinstance(mask, Image.Image):
            what = type(mask).__name__
            raise BadImageError(f"is a {what}: give a path, a PIL image or a NumPy array", "not_an_image")
        if mask.mode.startswith("I") or mask.mode == "F":
            raise BadImageError(f"has more than 8 bits a channel (mode {mask.mode}): convert it first", "sixteen_bit")
        return read_values(picture_pixels(mask), wanted.reading)


def read_given(pair: Pair, read: Callable[[], Array], where: str, wanted: Wanted) -> Given | str:
    """Return a mask as the generator takes it, or what is wrong with it."""
    try:
        own = read()
    except (BadImageError, OSError) as error:
        return str(error)
    labels, box = framed_mask(own, wanted.size_px, letterbox=wanted.how.fit == "letterbox")
    if lost := lost_labels(own, labels):
        names = ", ".join(wanted.classes[number - 1] for number in lost)
        side = wanted.size_px
        return f"{where}: its {names} is gone at {side}x{side} px: {size_text(own)} px is too large for so small a one"
    return Given(replace(pair, box=box or pair.box), labels, own)
