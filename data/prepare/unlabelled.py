"""Images without masks, to pretrain the base or without a lesion, and none of val or a test set is among them."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from data.mask_files.read import holds_two_values
from data.pairs.errors import one_line
from data.pairs.files import sha256_file
from data.pairs.image_io import BadImageError, write_image
from data.pairs.manifest import Pair
from data.pairs.parallel import threaded
from data.pairs.prepared import TRAIN, LoneImage, write_lone_images
from data.pairs.resize import letterbox, resize_image
from data.prepare.config import FolderDataset
from data.prepare.likeness import DUPLICATE_CORRELATION, thumbnail
from data.readers.reading import memory_for, read_image_alone, size_text
from data.readers.sources import Source


class Labelled(NamedTuple):
    """The prepared pairs that images without masks are compared with."""

    train_hashes: frozenset[str]
    held_out: list[Pair]  # of val and the test sets
    hashes: dict[str, int]  # hash of a held-out image -> its place
    thumbnails: np.ndarray  # float32 (held-out, 1024)
    groups: frozenset[str]  # of held-out pairs


class Use(NamedTuple):
    """What images without masks are for, in words."""

    key: str  # of the row
    does: str  # "... images <does>"
    keeps: str  # what allow_duplicates does to one that val or a test set holds


BASE = Use("unlabelled", "pretrain the base without masks", "keeps it from the base")


class Outcome(NamedTuple):
    """What came of one image; `text` says what is wrong with it."""

    kind: Literal["taken", "damaged", "held out", "allowed", "training image"]
    text: str = ""
    image: LoneImage | None = None
    like_a_mask: bool = False


def labelled(pairs: Sequence[Pair], thumbnails: np.ndarray) -> Labelled:
    """Return what to compare with, of the prepared pairs and their thumbnails (N, 1024)."""
    places = [place for place, pair in enumerate(pairs) if pair.split != TRAIN]
    held_out = [pairs[place] for place in places]
    hashes = {pair.image_sha256: place for place, pair in enumerate(held_out)}
    train = frozenset(pair.image_sha256 for pair in pairs if pair.split == TRAIN)
    groups = frozenset(pair.group for pair in held_out) - {""}
    return Labelled(train, held_out, hashes, thumbnails[places].astype(np.float32), groups)


def _place(source: Source, root: Path) -> str:
    """Return what the manifest calls the file: its path in the data set's, with the slice where it is one."""
    inside = source.image.is_relative_to(root)
    place = source.image.relative_to(root).as_posix() if inside else source.image.name
    return one_line(f"{place} {source.id}" if source.reader else place, 1000)


def nearest_held_out(image: np.ndarray, digest: str, known: Labelled) -> tuple[Pair, float] | None:
    """Return the held-out pair whose image is this one, or nearly, and their correlation; None where there is none."""
    if digest in known.hashes:
        return known.held_out[known.hashes[digest]], 1.0
    if not known.held_out:
        return None
    likeness = known.thumbnails @ thumbnail(image)
    place = int(likeness.argmax())
    return (known.held_out[place], float(likeness[place])) if likeness[place] >= DUPLICATE_CORRELATION else None


def _prepare_image(row: FolderDataset, folder: Path, known: Labelled, use: Use, source: Source) -> Outcome:
    """Write an image as training images are prepared, unless it is one of the labelled images."""
    place = _place(source, Path(row.path))
    with memory_for(source):
        try:
            image = read_image_alone(source)
        except BadImageError as error:
            return Outcome("damaged", str(error))
        box = ""
        if row.fit == "letterbox":
            no_lesion = np.zeros(image.shape[:2], np.uint8)
            small, _, box = letterbox(image, no_lesion, row.size_px, antialias=row.antialias)
        else:
            small = resize_image(image, row.size_px, antialias=row.antialias)
        own_id = hashlib.sha256(place.encode()).hexdigest()[:16]  # names of files may be long, alike, or of patients
        path = folder / "images" / f"{own_id}.png"
        write_image(path, small)
        lone = LoneImage(own_id, f"images/{own_id}.png", place, size_text(image), sha256_file(path), box)
        outcome = Outcome("taken", "", lone, holds_two_values(image))
        if nearest := nearest_held_out(image, lone.image_sha256, known):
            pair, likeness = nearest
            alike = f"{place} and {pair.split}/{pair.id} are nearly the same image (correlation {likeness:.4f})"
            what_to_do = f"remove it, or set allow_duplicates: [{pair.id}], which {use.keeps}"
            allowed = {pair.id, "*"} & set(row.allow_duplicates)
            outcome = Outcome("allowed") if allowed else Outcome("held out", f"{use.key}: {alike}: {what_to_do}")
        elif lone.image_sha256 in known.train_hashes:
            outcome = Outcome("training image")
    if outcome.kind != "taken":
        path.unlink()
    return outcome


def _report(use: Use, counts: Counter[str], grouped: int, images: Sequence[LoneImage]) -> Iterator[str]:
    yield f"{len(images)} images {use.does}"
    if number := counts["training image"]:
        yield f"{number} are training images anyhow, and not taken twice"
    if number := counts["allowed"]:
        yield f"{number} are left out, for val or a test set holds them (allow_duplicates)"
    if grouped:
        yield f"{grouped} are left out, for their groups are in val or a test set"
    if number := len(images) - len({image.image_sha256 for image in images}):
        yield f"{number} are there more than once"


def write_lone(
    row: FolderDataset, sources: Sequence[Source], known: Labelled, folder: Path, use: Use = BASE
) -> tuple[list[LoneImage], list[str]]:
    """Write the images and images.csv to the folder, say how many, and return them and what is wrong with them.

    An image that nearly equals one of val or a test set is a fault; one of a group of theirs is left out, and so is one
    that equals a training image.
    """
    free = [source for source in sources if source.group not in known.groups]
    counts: Counter[str] = Counter()
    problems: list[str] = []
    images: list[LoneImage] = []
    like_masks = 0
    key = use.key
    outcomes = threaded(lambda source: _prepare_image(row, folder, known, use, source), free, title=key, unit="image")
    for outcome in outcomes:
        counts[outcome.kind] += 1
        problems += [outcome.text] if outcome.text else []
        images += [outcome.image] if outcome.image else []
        like_masks += outcome.like_a_mask
    if like_masks * 2 > len(images):
        what_to_do = "name folders of images"
        problems.append(f"{key}: {like_masks} of {len(images)} images hold two values, as masks do: {what_to_do}")
    told = list(_report(use, counts, len(sources) - len(free), images))
    if sources and not images and not problems:
        problems.append(f"{key}: no image is left; {'; '.join(told[1:])}")
    write_lone_images(folder, images)
    sys.stderr.write(f"{row.path}: {key}: {'; '.join(told)}\n")
    return images, problems
