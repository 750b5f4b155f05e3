"""DICOM files as pairs, through pydicom, which the extra `medical` brings."""

import contextlib
import hashlib
import importlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.mask_files.pixels import mask_pixels
from data.mask_files.read import Reading, read_values, refuse_lossy_numbers
from data.pairs.errors import BadImageError, UserError, naming, one_line
from data.pairs.image_io import is_jpeg
from data.readers.known_forms import DICOM, ending_of
from data.readers.reading import size_text

# what the values of a file may mean; pydicom makes RGB of these kinds of YBR, and leaves others as they are
MEANINGS = re.compile(r"MONOCHROME[12]|RGB|YBR_(FULL|FULL_422|ICT|RCT)|PALETTE COLOR")
READ = "MONOCHROME1 and 2, RGB, YBR_FULL, YBR_ICT, YBR_RCT and PALETTE COLOR"
EXTRA = 'install them by: pip install ".[medical]"'


def library(name: str) -> Any:
    """Return the module of a reader. Raises: UserError that says how it is installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"NIfTI volumes and DICOM files need nibabel and pydicom, and {name} is not there: {EXTRA}"
        ) from error


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return uint8: 0 at `low` and below, 255 at `high` and above."""
    return np.round((np.clip(values, low, high) - low) * 255 / (high - low)).astype(np.uint8)


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file of one frame, and its masks: pictures or DICOM files."""

    image: Path
    masks: tuple[Path, ...]
    limits: tuple[float, float]

    def image_alone(self) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        pixels, header = _dicom_pixels(self.image)
        return pixels if pixels.ndim == 3 else np.repeat(self._grey(pixels, header)[..., None], 3, axis=2)

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""
        image = self.image_alone()
        masks = []
        for path in self.masks:
            with naming(path):
                held = _dicom_pixels(path)[0] if ending_of(path) in DICOM else mask_pixels(path)
                if ending_of(path) not in DICOM and is_jpeg(path):
                    refuse_lossy_numbers(held, reading)
                masks.append(read_values(held, reading))
            if masks[-1].shape != image.shape[:2]:
                text = f"{self.image}: is {size_text(image)} but its mask {path.name} is {size_text(masks[-1])}"
                raise BadImageError(text, "size_mismatch")
        return image, np.maximum.reduce(masks)

    def _grey(self, pixels: np.ndarray, header: Any) -> np.ndarray:
        with _named_if_damaged(self.image):
            slope, intercept = float(header.get("RescaleSlope", 1) or 1), float(header.get("RescaleIntercept", 0) or 0)
        grey = windowed(pixels.astype(np.float64) * slope + intercept, *self.limits)
        return 255 - grey if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey  # 0 is white there


@contextlib.contextmanager
def _named_if_damaged(path: Path, what_to_do: str = "copy it again") -> Iterator[None]:
    """Name the file for what pydicom raises in the block: it looks at most values only when they are asked for."""
    errors = library("pydicom").errors
    try:
        yield
    except (
        OSError, ValueError, AttributeError, EOFError, RuntimeError, TypeError, LookupError, ArithmeticError,
        struct.error, errors.InvalidDicomError, errors.BytesLengthException,
    ) as error:  # fmt: skip
        text = f"{path}: is no DICOM file that can be read ({one_line(str(error))}): {what_to_do}"
        raise BadImageError(text, "damaged") from error


def _dicom(path: Path, **how: bool) -> Any:
    pydicom = library("pydicom")
    with _named_if_damaged(path):
        return pydicom.dcmread(path, **how)


def _dicom_pixels(path: Path) -> tuple[np.ndarray, Any]:
    """Return the stored values, (H, W) or uint8 (H, W, 3) RGB, and the header. Raises: BadImageError."""
    header = _dicom(path)
    with _named_if_damaged(path):
        meaning = str(header.get("PhotometricInterpretation", ""))
    if not MEANINGS.fullmatch(meaning):
        what = f"its PhotometricInterpretation is {meaning or 'missing'}, and {READ} can be read"
        raise BadImageError(f"{path}: {what}: export it as RGB", "volume")
    with _named_if_damaged(path, "copy it again; a compressed one needs pylibjpeg"):
        pixels = header.pixel_array
        if meaning == "PALETTE COLOR" and pixels.ndim == 2:
            pixels = _coloured(pixels, header)
    if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels), header
    if pixels.ndim != 2:
        raise BadImageError(f"{path}: has several frames or more than 8 bits a colour: save each as a file", "volume")
    return pixels, header


def _coloured(numbers: np.ndarray, header: Any) -> np.ndarray:
    """Return uint8 (H, W, 3): the colours of the file's palette for its numbers."""
    colours = library("pydicom.pixels").apply_color_lut(numbers, header)[..., :3]
    deep = colours.max(initial=0) > 255  # palettes of 8 bits are stored in words of 16, too
    return (colours >> 8 if deep else colours).astype(np.uint8)


def patient(path: Path) -> str:
    """Return what stands for the patient, or else the series, of a DICOM file: a hash, for results name groups."""
    header = _dicom(path, stop_before_pixels=True)
    with _named_if_damaged(path):
        said = str(header.get("PatientID", "") or header.get("SeriesInstanceUID", "") or path.parent.name)
    return f"patient-{hashlib.sha256(said.encode()).hexdigest()[:10]}"
