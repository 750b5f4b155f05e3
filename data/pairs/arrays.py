"""Arrays of .npz files without loading them: a row of a large one costs no more than the row."""

import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np


@cache
def array_names(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in a file."""
    with np.load(path) as file:
        return tuple(file.files)


@cache
def array_of(path: Path, name: str) -> np.ndarray:
    """Return one array of a file, mapped from a temporary copy on disk that goes when the process ends."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member, tempfile.TemporaryFile() as copy:
        while chunk := member.read(1 << 20):
            copy.write(chunk)
        copy.seek(0)
        old = np.lib.format.read_magic(copy) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(copy)
        return np.memmap(copy, dtype, "r", copy.tell(), shape, "F" if fortran else "C")  # type: ignore[call-overload]
