"""Slices of NIfTI volumes, and DICOM files, as pairs: through nibabel and pydicom, which the extra `medical` brings.

A NIfTI volume is turned to the patient's axes first (RAS+, by its affine), whatever the order in the file. A slice
lies as radiologists look at it: an axial one (axis 2) with the front of the patient above and the patient's right on
the left, a coronal one (axis 1) with the head above and the right on the left, a sagittal one (axis 0) with the head
above and the front on the left.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.layouts.config import Slices
from data.layouts.known_forms import DICOM, NIFTI, ending_of
from data.layouts.sources import Source
from data.mask_files.pixels import mask_pixels
from data.mask_files.read import Reading, read_values
from data.pairs.errors import UserError
from data.pairs.image_io import BadImageError

KEPT = 4  # volumes in memory
AFFINE_TOLERANCE = 1e-3  # mm
EXTRA = 'install them by: pip install ".[medical]"'


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"NIfTI volumes and DICOM files need nibabel and pydicom, and {name} is not there: {EXTRA}"
        ) from error


class _Kept:
    """The volumes that were read last, for neighbouring slices are asked for one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrays: OrderedDict[tuple, np.ndarray] = OrderedDict()

    def get(self, key: tuple, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of this key, read once while it is among the last few."""
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = read()
            self._arrays.move_to_end(key)
            while len(self._arrays) > KEPT:
                self._arrays.popitem(last=False)
            return self._arrays[key]


_KEPT = _Kept()


def _opened(path: Path) -> Any:
    """Return the nibabel image. Raises: BadImageError for a file that is none."""
    nibabel = _library("nibabel")
    try:
        return nibabel.load(path)
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise BadImageError(
            f"{path}: is no NIfTI volume that can be read ({error}): copy it again", "damaged"
        ) from error


def _shape(path: Path) -> tuple[int, ...]:
    shape = tuple(_opened(path).shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise BadImageError(
            f"{path}: has {len(shape)} dimensions, 3 can be read: save each channel by itself", "volume"
        )
    return shape


def _values(path: Path) -> np.ndarray:
    """Return float32 (X, Y, Z) along the patient's axes, scaled as the header says. Raises: BadImageError."""
    nibabel = _library("nibabel")
    shape = _shape(path)
    try:
        turned = nibabel.as_closest_canonical(_opened(path))
        values = np.asarray(turned.dataobj, dtype=np.float32)
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise BadImageError(f"{path}: is damaged ({error}): copy it again", "damaged") from error
    return values.reshape(values.shape[: len(shape)])


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return uint8: 0 at `low` and below, 255 at `high` and above."""
    return np.round((np.clip(values, low, high) - low) * 255 / (high - low)).astype(np.uint8)


def _image_volume(path: Path, low: float, high: float) -> np.ndarray:
    values = _values(path)
    if not np.isfinite(values).all():
        raise BadImageError(
            f"{path}: holds values that are no numbers (NaN or infinite): set them to a value first", "volume"
        )
    return windowed(values, low, high)


def _label_volume(path: Path) -> np.ndarray:
    values = _values(path)
    if not np.isfinite(values).all() or (values != np.round(values)).any() or values.min() < 0 or values.max() > 255:
        text = "holds values that are no labels: whole numbers from 0 to 255 are needed"
        raise BadImageError(f"{path}: {text}; was it resampled without nearest neighbour?", "volume")
    return values.astype(np.uint8)


def _labels_of(path: Path) -> np.ndarray:
    return _KEPT.get((path, "labels"), lambda: _label_volume(path))


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

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""
        volume = _KEPT.get((self.image, self.limits), lambda: _image_volume(self.image, *self.limits))
        grey = _slice(volume, self.axis, self.index)
        values = _slice(merged_labels(self.labels), self.axis, self.index)
        try:
            mask = read_values(values, reading)
        except BadImageError as error:
            raise BadImageError(f"{self.labels[0]}, slice {self.index}: {error}", error.code) from error
        return np.repeat(grey[..., None], 3, axis=2), mask


def merged_labels(paths: tuple[Path, ...]) -> np.ndarray:
    """Return uint8 (X, Y, Z): the labels of one volume, or of several, of which the later counts where it is not 0."""
    merged = _labels_of(paths[0])
    for path in paths[1:]:
        later = _labels_of(path)
        merged = np.where(later > 0, later, merged)
    return merged


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file of one frame, and its masks: pictures or DICOM files."""

    image: Path
    masks: tuple[Path, ...]
    limits: tuple[float, float]

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""
        pixels, header = _dicom_pixels(self.image)
        image = pixels if pixels.ndim == 3 else np.repeat(self._grey(pixels, header)[..., None], 3, axis=2)
        masks = []
        for path in self.masks:
            try:
                if ending_of(path) in DICOM:
                    mask = read_values(_dicom_pixels(path)[0], reading)
                else:
                    mask = read_values(mask_pixels(path), reading)
            except BadImageError as error:
                raise BadImageError(f"{path}: {error}", error.code) from error
            if mask.shape != image.shape[:2]:
                size, mask_size = (f"{array.shape[1]}x{array.shape[0]}" for array in (image, mask))
                text = f"{self.image}: is {size} but its mask {path.name} is {mask_size}"
                raise BadImageError(text, "size_mismatch")
            masks.append(mask)
        return image, np.maximum.reduce(masks)

    def _grey(self, pixels: np.ndarray, header: Any) -> np.ndarray:
        slope, intercept = float(header.get("RescaleSlope", 1) or 1), float(header.get("RescaleIntercept", 0) or 0)
        grey = windowed(pixels.astype(np.float64) * slope + intercept, *self.limits)
        return 255 - grey if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey  # 0 is white there


def _dicom_header(path: Path) -> Any:
    pydicom = _library("pydicom")
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except (OSError, ValueError, AttributeError, EOFError, pydicom.errors.InvalidDicomError) as error:
        raise BadImageError(f"{path}: is no DICOM file that can be read ({error}): copy it again", "damaged") from error


def _dicom_pixels(path: Path) -> tuple[np.ndarray, Any]:
    """Return the stored values, (H, W) or uint8 (H, W, 3) RGB, and the header. Raises: BadImageError."""
    pydicom = _library("pydicom")
    try:
        header = pydicom.dcmread(path)
        pixels = header.pixel_array
    except (OSError, ValueError, AttributeError, EOFError, pydicom.errors.InvalidDicomError, RuntimeError) as error:
        what_to_do = "copy it again; a compressed one needs pylibjpeg"
        raise BadImageError(f"{path}: is no DICOM file that can be read ({error}): {what_to_do}", "damaged") from error
    if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels), header
    if pixels.ndim != 2:
        raise BadImageError(f"{path}: has several frames or more than 8 bits a colour: save each as a file", "volume")
    return pixels, header


def _patient(path: Path) -> str:
    """Return what stands for the patient, or else the series, of a DICOM file: a hash, for results name groups."""
    header = _dicom_header(path)
    said = str(header.get("PatientID", "") or header.get("SeriesInstanceUID", "") or path.parent.name)
    return f"patient-{hashlib.sha256(said.encode()).hexdigest()[:10]}"


def _wanted(keep: str, count: int, has_lesion: Callable[[], np.ndarray]) -> Iterator[int]:
    step = int(keep.removeprefix("every ")) if keep.startswith("every ") else 1
    chosen = has_lesion() if keep == "lesion" else np.arange(count) % step == 0
    yield from (int(index) for index in np.flatnonzero(chosen))


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
    other_axes = tuple(axis for axis in range(3) if axis != slices.axis)

    def has_lesion() -> np.ndarray:
        return np.asarray((merged_labels(source.masks) > 0).any(axis=other_axes))

    count = _turned_shape(source.image)[slices.axis]
    limits = slices.limits()
    return [
        replace(
            source,
            id=f"{source.id}-{index:04d}",
            group=source.group or source.id,
            index=index,
            reader=NiftiSlice(source.image, source.masks, slices.axis, index, limits),
        )
        for index in _wanted(slices.keep, count, has_lesion)
    ]


def _turned_shape(path: Path) -> tuple[int, ...]:
    nibabel = _library("nibabel")
    order = nibabel.io_orientation(_opened(path).affine)[:, 0]
    shape = _shape(path)
    return tuple(shape[int(np.flatnonzero(order == axis)[0])] for axis in range(3))


def sources_of_volumes(sources: Sequence[Source], slices: Slices, unmatched: list[str]) -> list[Source]:
    """Return a pair for each wanted slice; the group is the volume or, of DICOM files, the patient.

    What cannot be used is appended to `unmatched`. Raises: UserError when the library is not there.
    """
    pairs: list[Source] = []
    for source in sources:
        try:
            if ending_of(source.image) in DICOM:
                group = source.group or _patient(source.image)
                reader = DicomFile(source.image, source.masks, slices.limits())
                pairs.append(replace(source, group=group, index=0, reader=reader))
            elif ending_of(source.image) in NIFTI:
                pairs += _slices_of(source, slices)
            else:
                unmatched.append(f"{source.image}: is a picture, but `slices` is for volumes: leave it out of the row")
        except BadImageError as error:
            unmatched.append(str(error))
    return pairs
