"""What all exports share: the pairs that go out, byte-for-byte copies of their files, and the page that says so."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.pairs.files import sha256_file, write_text
from data.pairs.image_io import read_image, read_mask, write_image, write_mask
from data.pairs.manifest import Pair, complete

TRAIN, VAL = "train", "val"


@dataclass(frozen=True)
class Entry:
    """A pair, and the folder to which its paths are relative."""

    pair: Pair
    folder: Path

    @property
    def synthetic(self) -> bool:
        """Whether the pair is anything but an original: made by a generator, or a duplicate."""
        return self.pair.source != "real"

    def mask(self) -> np.ndarray:
        """Return uint8 (H, W) in {0, 1}."""
        return read_mask(self.folder / self.pair.mask)


Splits = Mapping[str, Sequence[Entry]]  # split -> its pairs, sorted by id; train and val first


def progress(entries: Iterable[Entry], split: str) -> Iterator[Entry]:
    """Yield the entries and show a bar when it takes long."""
    yield from tqdm(entries, desc=f"export {split}", unit="pair", delay=2, mininterval=5)


def copy_image(entry: Entry, path: Path) -> str:
    """Write an RGB PNG and return its SHA-256. A file that is one already is copied byte by byte, text included."""
    source = entry.folder / entry.pair.image
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as file:
        as_it_is = file.format == "PNG" and file.mode == "RGB" and not file.getexif()
        text = dict(getattr(file, "text", {}))
    if as_it_is:
        shutil.copyfile(source, path)
    else:
        write_image(path, read_image(source), text)
    return sha256_file(path)


def copy_mask(entry: Entry, path: Path) -> str:
    """Write a one-channel PNG of {0, 255} and return its SHA-256. A file that is one already is copied byte by byte."""
    source = entry.folder / entry.pair.mask
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as file:
        as_it_is = file.format == "PNG" and file.mode == "L" and not file.getexif()
        as_it_is = as_it_is and set(np.unique(np.asarray(file))) <= {0, 255}
    if as_it_is:
        shutil.copyfile(source, path)
    else:
        write_mask(path, read_mask(source))
    return sha256_file(path)


def copy_pair(entry: Entry, folder: Path) -> Pair:
    """Write images/<id>.png and masks/<id>.png and return their row: paths in `folder`, hashes of what was written."""
    pair = replace(entry.pair, image=f"images/{entry.pair.id}.png", mask=f"masks/{entry.pair.id}.png")
    copy_image(entry, folder / pair.image)
    copy_mask(entry, folder / pair.mask)
    return complete(folder, pair)


def about(pair: Pair, synthetic: bool) -> dict[str, str | float | bool]:
    """Return what a pair says of itself, without paths: for the formats that keep a record of every picture."""
    row = {name: value for name, value in asdict(pair).items() if name not in ("image", "mask")}
    return {**row, "synthetic": synthetic}


def write_readme(out: Path, title: str, lines: Iterable[str], splits: Splits, header: str = "") -> None:
    """Write README.md: how to read the export, and how many pairs of which source each split holds."""
    counts = {split: Counter(entry.pair.source for entry in entries) for split, entries in splits.items()}
    table = [f"| {split} | {source} | {n} |" for split, found in counts.items() for source, n in sorted(found.items())]
    text = [
        f"# {title}",
        "",
        *lines,
        "",
        "Every pair whose source is not `real` is in train: neither validation nor test holds one.",
        "The terms of the data sets that the real pairs come from hold for this export too.",
        "",
        "| split | source | pairs |",
        "| --- | --- | --- |",
        *table,
    ]
    write_text(out / "README.md", header + "\n".join(text) + "\n")
