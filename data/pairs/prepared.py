"""A prepared data set: its splits, one pair set a folder, and beside them images without masks."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from data.pairs.errors import UserError, naming
from data.pairs.files import write_text
from data.pairs.image_io import read_image
from data.pairs.manifest import MANIFEST, PairSet, read_pairs
from data.pairs.parallel import threaded
from data.pairs.tables import csv_text, read_table

TRAIN, VAL = "train", "val"
POOL = Path("pools/normal")  # images without a lesion, two levels deep, so that they are no split
NATIVE = "native"  # folder of test sets at their own sizes
UNLABELLED = "unlabelled"  # folder of images without masks, where it is not elsewhere


@dataclass(frozen=True)
class Prepared:
    """What lies in data/processed/<dataset>, or in another folder of splits."""

    folder: Path

    def names(self) -> list[str]:
        """Return the names of the splits, sorted. Raises: UserError when no sub-folder is a pair set."""
        if names := sorted(path.parent.name for path in self.folder.glob(f"*/{MANIFEST}")):
            return names
        expected = f"sub-folders such as train and test, each with {MANIFEST}, which dvc repro prepares"
        raise UserError(f"{self.folder} holds no splits: expected {expected}")

    def test_names(self) -> list[str]:
        """Return the names of the test sets, sorted. Raises: UserError when there is none."""
        names = self.names()
        if tests := [name for name in names if name not in (TRAIN, VAL)]:
            return tests
        raise UserError(f"{self.folder} holds no test set, only {names}: run dvc repro, which prepares it first")

    def splits(self) -> dict[str, PairSet]:
        """Return the pair set of every split by name, sorted. Raises: UserError when there is none."""
        return {name: read_pairs(self.folder / name, empty=False) for name in self.names()}

    @property
    def train(self) -> PairSet:
        """The training pairs. Raises: UserError when there are none."""
        return read_pairs(self.folder / TRAIN, empty=False)

    @property
    def val(self) -> PairSet | None:
        """The validation pairs, or None where the data set has none."""
        return read_pairs(self.folder / VAL, empty=False) if (self.folder / VAL / MANIFEST).is_file() else None

    def tests(self) -> dict[str, PairSet]:
        """Return the test sets by name, at their own sizes where these were kept. Raises: UserError for none."""
        own = {name: self.folder / NATIVE / name for name in self.test_names()}
        return {
            name: read_pairs(path if path.is_dir() else self.folder / name, empty=False) for name, path in own.items()
        }


LONE_IMAGES = "images.csv"


@dataclass(frozen=True)
class LoneImage:
    """One row of images.csv: an image without a mask. `image` is relative to the folder of the table."""

    id: str
    image: str
    source: str  # path of the file in the data set's
    native: str  # WIDTHxHEIGHT before it was resized, in px
    image_sha256: str
    box: str = ""  # left top width height of the content in px; empty when it fills the frame


@dataclass(frozen=True)
class LoneImages:
    """The images without masks of one folder, sorted by id."""

    folder: Path
    rows: tuple[LoneImage, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, row: LoneImage) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        path = self.folder / row.image
        with naming(path):
            return read_image(path)

    def after(self, images: np.ndarray) -> np.ndarray:
        """Return uint8 (N + M, H, W, 3): the N given images and then these M, in the order of their ids."""
        if not self.rows:
            return images
        joined = np.empty((len(images) + len(self), *images.shape[1:]), np.uint8)
        joined[: len(images)] = images
        read = threaded(self.image, self.rows, title="images without masks", unit="image")
        for place, image in enumerate(read, len(images)):
            joined[place] = image
        return joined


def write_lone_images(folder: Path, rows: Sequence[LoneImage]) -> None:
    """Write images.csv, sorted by id; where there are no rows it says so by its header alone."""
    ordered = sorted(rows, key=lambda row: row.id)
    write_text(folder / LONE_IMAGES, csv_text([field.name for field in fields(LoneImage)], map(astuple, ordered)))


def read_lone_images(folder: Path) -> LoneImages:
    """Return the images without masks of a folder. Raises: UserError when it has no images.csv, or another."""
    path = folder / LONE_IMAGES
    if not path.is_file():
        raise UserError(f"{folder} holds no {LONE_IMAGES}: run dvc repro, which prepares it first")
    names = [field.name for field in fields(LoneImage)]
    rows = [LoneImage(**{name: row[name] for name in names}) for row in read_table(path, names, unique="id")]
    return LoneImages(folder, tuple(sorted(rows, key=lambda row: row.id)))
