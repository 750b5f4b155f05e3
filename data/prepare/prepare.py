"""From a data-set row to prepared pair sets, one folder a split."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.mask_files.checks import MaskFacts, lost_hint, mask_facts, set_hints, set_problems
from data.mask_files.read import Reading
from data.pairs.assemble import write_pair
from data.pairs.errors import UserError, one_line, to_mend
from data.pairs.files import whole_folder, write_text
from data.pairs.image_io import BadImageError
from data.pairs.manifest import Pair, PairSet, file_names, id_problem, read_pairs, write_manifest
from data.pairs.parallel import threaded
from data.pairs.prepared import NATIVE, TRAIN, UNLABELLED, write_lone_images
from data.pairs.resize import letterbox, resize_image, resize_mask
from data.prepare.config import Dataset, FolderDataset, PhantomDataset, Style
from data.prepare.likeness import SIDE, near_duplicates, thumbnail
from data.prepare.normal import normal_sources, write_normal
from data.prepare.phantom_styles import draw_pair
from data.prepare.splits import split_sources, torn_hints
from data.prepare.unlabelled import labelled, write_lone
from data.prepare.unlabelled_files import outside, unlabelled_sources
from data.readers.config import REST
from data.readers.reading import memory_for, read_source, size_text
from data.readers.sources import Source

SHOWN = 20  # files that are not read; doctor lists all


class Written(NamedTuple):
    """A written pair, the same at its own size where that was asked for, what was read, the thumbnail of its image."""

    pair: Pair
    native: Pair | None
    facts: MaskFacts
    thumbnail: np.ndarray | None


def how_to_read(row: FolderDataset) -> Reading:
    """Return how the row reads masks."""
    stated = "mask_threshold" in row.model_fields_set
    classes = tuple(row.classes.values())
    return Reading(row.mask_threshold, stated, classes, row.as_background, bool(row.inverted_masks))


def _prepare_pair(row: FolderDataset, folder: Path, split: str, source: Source) -> Written | str:
    """Return what was written of a pair, or what is wrong with its files.

    The mask is made binary before it is resized, as in the official code (spec 1.4, row 18).
    """
    if problem := id_problem(source.id):
        return f"{one_line(str(source.image))}: {problem}"
    with memory_for(source):
        try:
            image, mask = read_source(source, how_to_read(row))
        except BadImageError as error:
            return str(error)
        domain, classes = source.domain or row.domain, "|".join(row.classes) or "lesion"
        pair = Pair(source.id, *file_names(source.id), split, "real", domain, source.group, classes=classes)
        pair = replace(pair, native=size_text(image))
        native = None
        if row.native_tests and split not in ("train", "val"):
            native = write_pair(folder / NATIVE / split, pair, image, mask)
        if row.fit == "letterbox":
            small, small_mask, box = letterbox(image, mask, row.size_px, antialias=row.antialias)
            pair = replace(pair, box=box)
        else:
            small = resize_image(image, row.size_px, antialias=row.antialias)
            small_mask = resize_mask(mask, row.size_px)
        written = write_pair(folder / split, pair, small, small_mask)
        return Written(written, native, mask_facts(mask, pair.id), thumbnail(image))


def leaks(pairs: list[Pair], thumbnails: np.ndarray, allowed: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return a line for every image that lies nearly the same in two splits: those refused, and those allowed by id."""
    refused, let_in = [], []
    for first, second, likeness in near_duplicates(thumbnails, [pair.split for pair in pairs], across=True):
        a, b = pairs[first], pairs[second]
        alike = f"{a.split}/{a.id} and {b.split}/{b.id} are nearly the same image (correlation {likeness:.4f})"
        if {a.id, b.id, "*"} & set(allowed):
            let_in.append(alike)
        else:
            what_to_do = "remove one, keep both together by `group` or `sequence_likeness`, or set"
            refused.append(f"{alike}: {what_to_do} allow_duplicates: [{b.id}]")
    return refused, let_in


def _prepare_folder(row: FolderDataset, folder: Path, unlabelled: Path) -> Iterator[Pair]:
    """Yield the pairs, written to folder/<split>; all faults of all files are raised together at the end.

    Images without masks are written to the folder `unlabelled`.
    """
    problems: list[str] = []
    unused: list[str] = []
    rest: list[Source] = []
    splits = split_sources(row, problems, unused, rest if REST in row.unlabelled_names() else None)
    problems, unused = outside(row, problems), outside(row, unused)
    lone, normal = unlabelled_sources(row, rest, problems, unused), normal_sources(row, problems, unused)
    if unused:
        sys.stderr.write("\n".join([f"{row.path}: {len(unused)} files are not read", *unused[:SHOWN], ""]))
    if hint := torn_hints(splits):
        sys.stderr.write(f"{row.path}: {hint}\n")
    # two pairs of one id would be written to one place; `problems` names them already
    tasks = [(split, source) for split in splits for source in {source.id: source for source in splits[split]}.values()]
    written: list[Written] = []
    thumbnails = np.zeros((len(tasks), SIDE * SIDE), np.float16)  # half as large, and as good for a likeness of .99
    for result in threaded(lambda task: _prepare_pair(row, folder, *task), tasks, title="prepare", unit="pair"):
        if isinstance(result, str):
            problems.append(result)
        else:
            thumbnails[len(written)] = result.thumbnail
            written.append(result._replace(thumbnail=None))
    pairs = [result.pair for result in written]
    known = labelled(pairs, thumbnails[: len(written)])
    if lone:
        problems += write_lone(row, lone, known, unlabelled)[1]
    problems += write_normal(row, normal, [pair for pair in pairs if pair.split == TRAIN], known, folder)
    if not problems:
        facts = {split: [result.facts for result in written if result.pair.split == split] for split in splits}
        problems = set_problems(facts, inverted=row.inverted_masks)
    lost = lost_hint([r.facts for r in written if r.facts.foreground and not r.pair.foreground], row.size_px)
    if not problems and lost and not any(pair.foreground for pair in pairs if pair.split == TRAIN):
        problems = [lost]
    if not problems:
        problems, let_in = leaks(pairs, thumbnails, row.allow_duplicates)
    if problems:
        raise UserError(to_mend(row.path, problems), problems)
    hints = [] if row.inverted_masks is False else set_hints([result.facts for result in written])
    if several := sum(len(source.masks) > 1 for _, source in tasks):
        hints.append(f"{several} images have several masks, merged: a pixel is lesion where any says so")
    hints += [lost] if lost else []
    if hints:
        sys.stderr.write("".join(f"{row.path}: {hint}\n" for hint in hints))
    if let_in:
        write_text(folder / "allowed_duplicates.txt", "\n".join(let_in) + "\n")
    natives = [result.native for result in written if result.native]
    for split in {pair.split for pair in natives}:
        write_manifest(folder / NATIVE / split, [pair for pair in natives if pair.split == split])
    yield from pairs


def _draw_phantoms(row: PhantomDataset, folder: Path) -> Iterator[Pair]:
    """Yield the drawn pairs, written to folder/<split>; the domain is `phantom`, or `phantom-` and the style."""
    pairs, thumbnails = [], [np.zeros((0, SIDE * SIDE), np.float32)]
    known: tuple[Style, ...] = ("same", "colour")[: row.domains]  # what training and validation take in turn
    splits: dict[str, tuple[int, tuple[Style, ...]]] = {"train": (row.train, known), "val": (row.val or 0, known)}
    splits |= {name: (test.count, (test.style,)) for name, test in row.tests.items()}
    if row.test:
        splits["test"] = (row.test, ("same",))
    for split, (count, styles) in splits.items():
        for number in range(count):
            pair_id, style = f"{split}-{number:04d}", styles[number % len(styles)]
            domain = "phantom" if style == "same" else f"phantom-{style}"
            pair = Pair(pair_id, *file_names(pair_id), split, "real", domain)
            image, mask = draw_pair(row.look, style, row.seed, pair_id, row.size_px)
            pairs.append(write_pair(folder / split, pair, image, mask))
            thumbnails += [thumbnail(image)[None]] if row.normal else []
    held_out = labelled(pairs if row.normal else [], np.concatenate(thumbnails))
    if problems := write_normal(row, (), [pair for pair in pairs if pair.split == TRAIN], held_out, folder):
        raise UserError(to_mend(row.path, problems), problems)
    yield from pairs


def prepare(row: Dataset, out_dir: Path, unlabelled_dir: Path | None = None) -> dict[str, PairSet]:
    """Return the prepared pair sets by split and write them to out_dir/<split>; out_dir appears whole or not at all.

    Images without masks go to unlabelled_dir, with images.csv, be there any or not; where none is given, those that a
    row names go to out_dir/unlabelled. Images without a lesion go to out_dir/pools/normal, be there any or not.

    Images are square PNGs of the row's size, masks are {0, 255}. With native_tests, test sets lie in out_dir/native/ at
    their own sizes too.

    Raises: UserError that names every unmatched, damaged, mis-sized or unsupported file at once, and every image that
    lies in two splits.
    """
    pairs: dict[str, list[Pair]] = {}
    with contextlib.ExitStack() as folders:
        apart = folders.enter_context(whole_folder(unlabelled_dir)) if unlabelled_dir else None
        folder = folders.enter_context(whole_folder(out_dir))
        if apart:
            write_lone_images(apart, [])
        if isinstance(row, PhantomDataset):
            pairs_of_row = _draw_phantoms(row, folder)
        else:
            pairs_of_row = _prepare_folder(row, folder, apart or folder / UNLABELLED)
        for pair in pairs_of_row:
            pairs.setdefault(pair.split, []).append(pair)
        for split, rows in pairs.items():
            write_manifest(folder / split, rows)
    return {split: read_pairs(out_dir / split) for split in pairs}
