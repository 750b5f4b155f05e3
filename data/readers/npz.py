"""Arrays of .npz files without loading them: a row of a large one costs no more than the row."""

import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from data.mask_files.read import Reading, read_values
from data.pairs.errors import naming

# what a file raises whose bytes were changed, whatever they stand for
BROKEN = (OSError, ValueError, EOFError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


@cache
def array_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in a file."""
    with np.load(path) as file:
        return tuple(file.files)


@cache
def array_of(path: Path, name: str) -> np.ndarray:
    """Return one array of a file, mapped from a temporary copy on disk that goes when the process ends.

    Raises: ValueError, OSError, KeyError and zipfile.BadZipFile for what is no array of numbers.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member, tempfile.TemporaryFile() as copy:
        while chunk := member.read(1 << 20):
            copy.write(chunk)
        copy.seek(0)
        old = np.lib.format.read_magic(copy) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(copy)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which may be harmful")
        return np.memmap(copy, dtype, "r", copy.tell(), shape, "F" if fortran else "C")  # type: ignore[call-overload]


def label_array(path: Path, split: str) -> str:
    """Return the name of the array of masks that belongs to <split>_images. Raises: KeyError when there is none."""
    for name in array_names(path):
        if name in (f"{split}_label", f"{split}_labels", f"{split}_masks"):
            return name
    raise KeyError(f"{split}_label")


def check_arrays(path: Path, split: str) -> int:
    """Return the number of pairs of a split in an array file.

    Raises: ValueError that says what is wrong with its arrays, KeyError when one is missing.
    """
    images, labels = array_of(path, f"{split}_images"), array_of(path, label_array(path, split))
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))):
        raise ValueError(f"{split}_images is {images.dtype} {images.shape}, needed is uint8 (N, H, W) or (N, H, W, 3)")
    flat = labels.shape[:3] if labels.ndim == 4 and labels.shape[3] == 1 else labels.shape
    if labels.dtype.kind not in "uib" or flat != images.shape[:3]:
        raise ValueError(f"{label_array(path, split)} is {labels.dtype} {labels.shape}, needed is {images.shape[:3]}")
    return len(images)


@dataclass(frozen=True)
class ArrayRow:
    """One row of an array file that `check_arrays` has seen."""

    path: Path
    split: str
    index: int

    def image_alone(self) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        image = np.array(array_of(self.path, f"{self.split}_images")[self.index])
        image = image[..., None] if image.ndim == 2 else image
        return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))

    def read(self, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask as `read_source` does."""
        image = self.image_alone()
        with naming(f"{self.path}, {self.split} {self.index}"):
            return image, read_values(self.numbers(), reading)

    def numbers(self) -> np.ndarray:
        """Return the mask's values, int64 (H, W)."""
        labels = np.array(array_of(self.path, label_array(self.path, self.split))[self.index])
        return labels.reshape(labels.shape[:2]).astype(np.int64)
