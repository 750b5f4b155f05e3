"""Slices of NIfTI volumes as pairs, through nibabel, which the extra `medical` brings.

A volume is turned to the patient's axes first (RAS+, by its affine), whatever the order in the file. A slice
lies as radiologists look at it: an axial one (axis 2) with the front of the patient above and the patient's right on
the left, a coronal one (axis 1) with the head above and the right on the left, a sagittal one (axis 0) with the head
above and the front on the left.
"""

import contextlib
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np

from data.mask_files.read import Reading, read_values
from data.pairs.errors import BadImageError, naming, one_line
from data.readers.config import Slices
from data.readers.dicom import DicomFile, library, patient, windowed
from data.readers.known_forms import DICOM, NIFTI, ending_of
from data.readers.sources import Source

KEPT = 4  # volumes in memory
_ONE_READS = threading.Lock()
AFFINE_TOLERANCE = 1e-3  # mm


@contextlib.contextmanager
def _named_if_damaged(path: Path, what: str = "is damaged") -> Iterator[None]:
    """Name the file for what nibabel raises in the block."""
    nibabel = library("nibabel")
    try:
        yield
    except (
        OSError, ValueError, EOFError, TypeError, ArithmeticError, zlib.error, nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError, nibabel.orientations.OrientationError,
    ) as error:  # fmt: skip
        raise BadImageError(f"{path}: {what} ({one_line(str(error))}): copy it again", "damaged") from error


def _opened(path: Path) -> Any:
    """Return the nibabel image. Raises: BadImageError for a file that is none."""
    nibabel = library("nibabel")
    with _named_if_damaged(path, "is no NIfTI volume that can be read"):
        return nibabel.load(path)


def _shape(path: Path) -> tuple[int, ...]:
    shape = tuple(_opened(path).shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise BadImageError(
            f"{path}: has {len(shape)} dimensions, 3 can be read: save each channel by itself", "volume"
        )
    return shape


@lru_cache(KEPT)
def _volume(path: Path, limits: tuple[float, float] | None) -> np.ndarray:
    """Return uint8 (X, Y, Z) along the patient's axes: an image between limits, or labels. Raises: BadImageError."""
    nibabel = library("nibabel")
    dimensions = len(_shape(path))
    with _named_if_damaged(path):
        turned = nibabel.as_closest_canonical(_opened(path))
        values = np.asarray(turned.dataobj, dtype=np.float32)  # scaled as the header says
    values = values.reshape(values.shape[:dimensions])
    finite = bool(np.isfinite(values).all())
    if limits and not finite:
        text = "holds values that are no numbers (NaN or infinite): set them to a value first"
        raise BadImageError(f"{path}: {text}", "volume")
    if limits:
        return windowed(values, *limits)
    if not finite or (values != np.round(values)).any() or values.min() < 0 or values.max() > 255:
        text = "holds values that are no labels: whole numbers from 0 to 255 are needed"
        raise BadImageError(f"{path}: {text}; was it resampled without nearest neighbour?", "volume")
    return values.astype(np.uint8)


def _kept_volume(path: Path, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Return a volume, read once while it is among the last few: neighbouring slices come one after the other."""
    with _ONE_READS:
        return _volume(path, limits)


def _slice(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    return np.ascontiguousarray(np.take(volume, index, axis)[::-1, ::-1].T)


@dataclass(frozen=True)
class NiftiSlice:
    """A slice of a volume and of its labels; several label volumes are merged, the later one counts."""

    image: Path
    labels: tuple[Path, ...]
    axis: int
    index: int
    limits: tuple[float, float]

    def image_alone(self) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        grey = _slice(_kept_volume(self.image, self.limits), self.axis, self.index)
        return np.repeat(grey[..., None], 3, axis=2)

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""
        image, values = self.image_alone(), self.numbers()
        with naming(f"{self.labels[0]}, slice {self.index}"):
            return image, read_values(values, reading)

    def numbers(self) -> np.ndarray:
        """Return the mask's values, uint8 (H, W)."""
        return _slice(_merged_labels(self.labels), self.axis, self.index)


def _merged_labels(paths: tuple[Path, ...]) -> np.ndarray:
    """Return uint8 (X, Y, Z): the labels of one volume, or of several, of which the later counts where it is not 0."""
    return reduce(lambda merged, later: np.where(later > 0, later, merged), map(_kept_volume, paths))


def _slices_of(source: Source, slices: Slices) -> list[Source]:
    """Return a pair for each wanted slice of a volume. Raises: BadImageError."""
    pictures = [path.name for path in source.masks if ending_of(path) not in NIFTI]
    if pictures:
        text = f"is a NIfTI volume, but {', '.join(pictures)} is none: its labels must be a volume of its size, too"
        raise BadImageError(f"{source.image}: {text}", "volume")
    shape, affine = _shape(source.image), _opened(source.image).affine
    for path in source.masks:
        if _shape(path) != shape:
            sizes = " and ".join("x".join(map(str, size)) for size in (shape, _shape(path)))
            raise BadImageError(f"{source.image}: and its labels {path.name} differ in size, {sizes}", "size_mismatch")
        if not np.allclose(_opened(path).affine, affine, atol=AFFINE_TOLERANCE):
            text = f"and its labels {path.name} lie differently in space (their affines differ)"
            raise BadImageError(f"{source.image}: {text}: resample the labels to the image", "volume")
    if slices.keep == "lesion":
        other_axes = tuple(axis for axis in range(3) if axis != slices.axis)
        wanted = np.flatnonzero((_merged_labels(source.masks) > 0).any(axis=other_axes)).tolist()
    else:
        step = 1 if slices.keep == "all" else int(slices.keep.removeprefix("every "))
        with _named_if_damaged(source.image):
            axis_in_file = library("nibabel").io_orientation(affine)[:, 0].tolist().index(slices.axis)
        wanted = list(range(0, shape[axis_in_file], step))
    return [
        replace(
            source,
            id=f"{source.id}-{index:04d}",
            group=source.group or source.id,
            reader=NiftiSlice(source.image, source.masks, slices.axis, index, slices.limits()),
        )
        for index in wanted
    ]


def sources_of_volumes(sources: Sequence[Source], slices: Slices, unmatched: list[str]) -> list[Source]:
    """Return a pair for each wanted slice; the group is the volume or, of DICOM files, the patient.

    What cannot be used is appended to `unmatched`. Raises: UserError when the library is not there.
    """
    pairs: list[Source] = []
    for source in sources:
        try:
            if ending_of(source.image) in DICOM:
                group = source.group or patient(source.image)
                reader = DicomFile(source.image, source.masks, slices.limits())
                pairs.append(replace(source, group=group, reader=reader))
            elif ending_of(source.image) in NIFTI:
                pairs += _slices_of(source, slices)
            else:
                unmatched.append(f"{source.image}: is a picture, but `slices` is for volumes: leave it out of the row")
        except BadImageError as error:
            unmatched.append(str(error))
    return pairs
