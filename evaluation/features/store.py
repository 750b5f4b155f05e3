"""Features of one pair set under one extractor: computed once, kept as .npz with ids and where they come from."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.pairs.errors import UserError
from data.pairs.files import whole_file

SHOWN = 20  # images in one line of an error
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Features:
    """What an extractor says of a set: ids (N), named arrays, and meta (extractor, backbone, weights, versions, n)."""

    ids: list[str]
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


def write_features(path: Path, features: Features) -> None:
    """Write an .npz whose bytes depend on the content alone: NumPy's own writer puts the clock into it.

    Raises: UserError naming every image whose features are not finite.
    """
    check_finite(path, features)
    arrays = dict(features.arrays) | {
        "ids": np.array(features.ids, dtype=str),
        "meta": np.array(json.dumps(features.meta, sort_keys=True)),
    }
    with whole_file(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(arrays):
            array = io.BytesIO()
            np.save(array, arrays[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", ZIP_DATE), array.getvalue())


def read_features(path: Path) -> Features:
    """Return what `write_features` wrote.

    Raises: UserError when the file is missing or damaged, or holds what is not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        features = Features(arrays.pop("ids").tolist(), arrays, meta)
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} holds no features ({error}): remove it and run dvc repro") from error
    check_finite(path, features)
    return features


def check_finite(path: Path, features: Features) -> None:
    """Raises: UserError naming every image with a feature that is not finite, which no distance could be made of."""
    problems = []
    for name, array in features.arrays.items():
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1)).tolist()
        own = len(array) == len(features)
        shown = [str(features.ids[row]) if own else f"pair {row}" for row in rows[:SHOWN]]
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        problems.append(f"{name} of {', '.join(shown)}{more}")
    if problems:
        to_do = "look at these images; in half precision a network may overflow: unset ACCELERATE_MIXED_PRECISION"
        raise UserError(f"{path}: features that are not finite (NaN or infinite)", [*problems, to_do])


def read_parts(folder: Path) -> dict[str, Features]:
    """Return the features of every part in a folder: train, holdout and codec of the real pairs, or synthetic."""
    return {path.stem: read_features(path) for path in sorted(folder.glob("*.npz"))}
