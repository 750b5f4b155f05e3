"""Pair sets: a folder with images/, masks/ and manifest.csv, one row a pair."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np

from data.pairs.errors import UserError, naming
from data.pairs.files import sha256_file, write_text
from data.pairs.image_io import BadImageError, read_image, read_labels
from data.pairs.resize import Box, crop
from data.pairs.tables import csv_text, of_cell

MANIFEST = "manifest.csv"
MOST_ID_BYTES = 150  # a name on disk has 255, and files are named after ids with more around them


@dataclass(frozen=True)
class Pair:
    """One row of a manifest. Paths are relative to the folder of the manifest; `image` is empty in a set of masks."""

    id: str
    image: str
    mask: str
    split: str
    source: str  # who made the image: real, duplicate, or the key of a generator
    domain: str = ""  # where the real image comes from, such as clinicdb
    group: str = ""  # what must stay together in a split: a patient, a video
    parent: str = ""  # id of the real pair that the mask comes from
    donor: str = ""  # id of the real pair whose lesion took the place of the parent's
    seed: str = ""  # seed of the drawn noise or transform, empty for real pairs
    image_sha256: str = ""
    mask_sha256: str = ""
    foreground: float = 0.0  # share of lesion pixels, 0-1
    native: str = ""  # WIDTHxHEIGHT of the real image before it was resized, in px
    box: str = ""  # left top width height of the content in px; empty when it fills the frame
    classes: str = "lesion"  # names of the classes of lesion, in the order of their labels 1, 2, ...; "|" between them


def file_names(pair_id: str) -> tuple[str, str]:
    """Return the paths of image and mask of a pair in its folder."""
    return f"images/{pair_id}.png", f"masks/{pair_id}.png"


def id_problem(pair_id: str) -> str | None:
    """Return why files cannot be named after an id, or None."""
    try:
        length = len(pair_id.encode())
    except UnicodeEncodeError:
        return "its name is no UTF-8: rename the file"
    if length > MOST_ID_BYTES:
        return f"its name has {length} bytes, at most {MOST_ID_BYTES} can be used: rename the file"
    return None


def class_names(pair: Pair) -> tuple[str, ...]:
    """Return the names of the classes of lesion, in the order of their labels 1, 2, ..."""
    return tuple(pair.classes.split("|"))


def check_one_class(pairs: Sequence[Pair], who: str) -> None:
    """Raise UserError when pairs have several classes of lesion, which the masks that `who` makes do not tell apart."""
    if names := next((class_names(pair) for pair in pairs if len(class_names(pair)) > 1), ()):
        raise UserError(
            f"masks made by {who} have one class of lesion; these pairs have {', '.join(names)}",
            [f"leave `classes` out of the data-set row, then all of them are lesion, or do without {who}"],
        )


def content_box(pair: Pair) -> Box | None:
    """Return the box of a pair's content in px, or None when it fills the frame."""
    if not pair.box:
        return None
    left, top, width, height = (int(part) for part in pair.box.split())
    return left, top, width, height


def content(pair: Pair, array: np.ndarray) -> np.ndarray:
    """Return the part of an image or mask (H, W, ...) of the pair that is no padding."""
    box = content_box(pair)
    return crop(array, box) if box else array


COLUMNS = tuple(field.name for field in fields(Pair))


@dataclass(frozen=True)
class PairSet:
    """The pairs of one folder, sorted by id."""

    folder: Path
    pairs: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, pair: Pair) -> np.ndarray:
        """Return uint8 (H, W, 3)."""
        path = self.folder / pair.image
        with naming(path):
            return read_image(path)

    def labels(self, pair: Pair) -> np.ndarray:
        """Return uint8 (H, W) in {0..K}: the background and the K classes of the pair."""
        path = self.folder / pair.mask
        with naming(path):
            return read_labels(path, len(class_names(pair)))

    def mask(self, pair: Pair) -> np.ndarray:
        """Return uint8 (H, W) in {0, 1}: lesion of any class."""
        return (self.labels(pair) > 0).astype(np.uint8)

    def hint(self, pair: Pair) -> np.ndarray:
        """Return (H, W) in [0, 1], what a generator sees of the mask: uint8 for one class, else float32 label / K."""
        labels, count = self.labels(pair), len(class_names(pair))
        return labels if count == 1 else labels / np.float32(count)

    def images(self) -> np.ndarray:
        """Return uint8 (N, H, W, 3), in the order of the ids."""
        return np.stack([self.image(pair) for pair in self.pairs])

    def masks(self) -> np.ndarray:
        """Return uint8 (N, H, W) in {0, 1}, in the order of the ids."""
        return np.stack([self.mask(pair) for pair in self.pairs])

    def hints(self) -> np.ndarray:
        """Return (N, H, W) in [0, 1], in the order of the ids."""
        return np.stack([self.hint(pair) for pair in self.pairs])


def complete(folder: Path, pair: Pair) -> Pair:
    """Return the row with the hashes and the foreground share of the files that lie in `folder`."""
    return replace(
        pair,
        image_sha256=sha256_file(folder / pair.image) if pair.image else "",
        mask_sha256=sha256_file(folder / pair.mask),
        foreground=round(float((read_labels(folder / pair.mask, len(class_names(pair))) > 0).mean()), 6),
    )


def write_manifest(folder: Path, pairs: Sequence[Pair]) -> PairSet:
    """Write manifest.csv, sorted by id, and return the pair set. Ids must be unique."""
    ordered = tuple(sorted(pairs, key=lambda pair: pair.id))
    ids = [pair.id for pair in ordered]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{folder}: ids are not unique: {sorted({i for i in ids if ids.count(i) > 1})[:5]}")
    write_text(folder / MANIFEST, csv_text(COLUMNS, map(astuple, ordered)))
    return PairSet(folder, ordered)


def read_pairs(folder: Path) -> PairSet:
    """Return the pair set of a folder. Raises: UserError when it has no manifest, or one without columns of `Pair`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder} is not a pair set: it holds no {MANIFEST}, which dvc repro writes")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(f"{path} lacks columns", missing)
        pairs = [
            replace(Pair(**{name: of_cell(row[name]) for name in COLUMNS}), foreground=float(row["foreground"]))
            for row in reader
        ]
    return PairSet(folder, tuple(sorted(pairs, key=lambda pair: pair.id)))


def verify(pair_set: PairSet) -> None:
    """Check that every file is there, readable, of its recorded hash and of the size of its partner.

    Raises: UserError that names every file at fault.
    """
    problems = []
    for pair in pair_set.pairs:
        shapes = []
        for name, digest, read in (
            (pair.image, pair.image_sha256, read_image),
            (pair.mask, pair.mask_sha256, partial(read_labels, classes=len(class_names(pair)))),
        ):
            path = pair_set.folder / name
            if not name:
                continue
            if not path.is_file():
                problems.append(f"{name}: missing")
            elif digest and sha256_file(path) != digest:
                problems.append(f"{name}: its bytes are not those of the manifest")
            else:
                try:
                    shapes.append(read(path).shape[:2])
                except BadImageError as error:
                    problems.append(f"{name}: {error}")
        if len(set(shapes)) > 1:
            problems.append(f"{pair.id}: image is {shapes[0]}, mask is {shapes[1]}")
    if problems:
        raise UserError(f"{pair_set.folder}: {len(problems)} files cannot be used", problems)
