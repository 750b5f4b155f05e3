"""Pair sets: a folder with images/, masks/ and manifest.csv, one row a pair."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from data.pairs.errors import UserError, few, naming, one_line
from data.pairs.files import sha256_file, write_text
from data.pairs.image_io import read_image, read_labels
from data.pairs.resize import Box, crop
from data.pairs.tables import csv_text, read_table

MANIFEST = "manifest.csv"
SHARE = re.compile(r"1(\.0*)?|0(\.\d*)?|\d(\.\d*)?e-\d+")  # 0-1, as Python writes it
BOX = re.compile(r"\d+ \d+ [1-9]\d* [1-9]\d*")
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


class Framed(Protocol):
    """What has a box: a pair, or an image without a mask."""

    @property
    def box(self) -> str:
        """Left, top, width and height of the content in px; empty when it fills the frame."""


def content_box(pair: Framed) -> Box | None:
    """Return the box of a pair's content in px, or None when it fills the frame."""
    if not pair.box:
        return None
    left, top, width, height = (int(part) for part in pair.box.split())
    return left, top, width, height


def content(pair: Framed, array: np.ndarray) -> np.ndarray:
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


def _row_problems(row: Mapping[str, str]) -> Iterator[str]:
    """Yield what keeps a row of a manifest from being a pair."""
    if not row["id"] or "/" in row["id"] or id_problem(row["id"]):
        yield f"id {one_line(row['id'], 100)!r} is no name of a file"
    for name in ("image", "mask"):
        place = PurePosixPath(row[name])
        if place.is_absolute() or ".." in place.parts:
            yield f"{name} {one_line(row[name], 100)!r} leads out of the folder"
    if not row["mask"]:
        yield "names no mask"
    if not SHARE.fullmatch(row["foreground"]):
        yield f"foreground {one_line(row['foreground'], 100)!r} is no share from 0 to 1"
    if row["box"] and not BOX.fullmatch(row["box"]):
        yield f"box {one_line(row['box'], 100)!r} is not left, top, width and height in px"
    if not all(row["classes"].split("|")):
        yield "classes are not all named"


def read_pairs(folder: Path, *, empty: bool = True) -> PairSet:
    """Return the pair set of a folder; `empty` says that it may hold no pair.

    Raises: UserError when it has no manifest, or one with rows that are none.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder} is not a pair set: it holds no {MANIFEST}, which dvc repro writes")
    rows = read_table(path, COLUMNS, _row_problems, unique="id")
    if not rows and not empty:
        raise UserError(f"{path} names no pair: it was cut off, or nothing was written: run dvc repro")
    if len(classes := sorted({row["classes"] for row in rows})) > 1:
        raise UserError(f"{path}: all pairs of a set have the same classes, these have {' and '.join(few(classes, 3))}")
    pairs = [Pair(**{name: row[name] for name in COLUMNS} | {"foreground": float(row["foreground"])}) for row in rows]
    return PairSet(folder, tuple(sorted(pairs, key=lambda pair: pair.id)))
