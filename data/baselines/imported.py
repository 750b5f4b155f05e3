"""Pairs that another tool has made, checked and written as a pair set like our own.

Everything that is wrong is told at once, by the names of data/doctor/faults.py and the file. What `doctor` only warns
of is refused here where it would spoil a comparison: nobody looks at a thousand made pairs one by one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.baselines.config import Imported
from data.doctor.faults import FAULTS, STOPS, code_of
from data.doctor.look import Seen, look
from data.layouts.layouts import find
from data.mask_files.read import Reading
from data.pairs.assemble import write_pair
from data.pairs.errors import UserError, system_problem, to_mend
from data.pairs.image_io import BadImageError
from data.pairs.manifest import Pair, PairSet, class_names, file_names, write_manifest
from data.pairs.parallel import threaded
from data.pairs.resize import resize_image, resize_mask
from data.pairs.tables import read_table
from data.prepare.likeness import near_duplicates, thumbnail
from data.readers.reading import read_source
from data.readers.sources import Found, Source

REFUSED = {code for code, (severity, _) in FAULTS.items() if severity == STOPS} | {
    "full_mask", "inverted_mask", "mask_is_image", "class_mask",
}  # fmt: skip
# what `classes` is the answer to
OF_VALUES = {
    "zero_one_mask", "class_mask", "colour_mask", "dim_mask", "grey_mask", "lost_class", "class_unknown",
}  # fmt: skip
EXPLAINED = OF_VALUES - {"grey_mask"} | {"photo_mask", "grey_area", "grey_labels"}  # say what the greys are


class _Written(NamedTuple):
    pair: Pair
    thumbnail: np.ndarray


def _faults(row: Imported, seen: Seen, *, two_valued: bool) -> Iterator[str]:
    """Yield a line for everything that is wrong with one pair's files and values.

    `two_valued` says that masks must be so, because neither the row nor the layout tells how greys are meant.
    """
    for code, text in seen.faults:
        if code in REFUSED and not (row.classes and code in OF_VALUES):
            yield f"{code}: {text}: {FAULTS[code][1]}"
    mask = seen.source.masks[0]
    if "empty_mask" in {code for code, _ in seen.faults} and not row.allow_empty:
        yield f"empty_mask: {mask}: remove the pair, or set allow_empty: true"
    if two_valued and seen.grey_share and not {code for code, _ in seen.faults} & EXPLAINED:
        yield (
            f"grey_mask: {mask}: {100 * seen.grey_share:.2g} % of its pixels are neither black nor white, as in JPEG: "
            "export masks as PNG, or say where to cut, mask_threshold: 127"
        )


def _parents(row: Imported, found: Found, real: PairSet, problems: list[str]) -> dict[str, str]:
    """Return id -> id of its real pair, as the list says; what is wrong with the list is appended to `problems`."""
    if not row.parents:
        return {}
    path = Path(row.path) / row.parents
    try:
        lines = [(line["id"], line["parent"]) for line in read_table(path, ("id", "parent"))]
    except OSError as error:
        problems.append(f"parents: {path} cannot be read: {system_problem(error)}")
        return {}
    except UserError as error:
        problems += [f"parents: {line}" for line in (error.title, *error.problems)]
        return {}
    made = {name for source in found.sources for name in (source.id, source.own_name)}
    known = {pair.id for pair in real.pairs}
    names = [name for name, _ in lines]
    problems += [f"parents: {name} stands twice in {path}" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"parents: {name} in {path} is no pair of {row.path}" for name in names if name not in made]
    problems += [f"parents: {parent} in {path} is no real training pair" for _, parent in lines if parent not in known]
    return dict(lines)


def _leaks(row: Imported, made: Sequence[_Written], real: PairSet, held_out: Mapping[str, PairSet]) -> Iterator[str]:
    """Yield a line for every made image that is a real one, or nearly one that segmenters are tested on."""
    own = {pair.image_sha256: pair.id for pair in real.pairs}
    pairs = {pair.id: (pair, small) for pair, small in made if not {pair.id, "*"} & set(row.allow_duplicates)}
    for name, (pair, _) in pairs.items():
        if pair.image_sha256 in own:
            copied = f"{name} is the real training image {own[pair.image_sha256]}"
            yield f"copy: {copied}: remove it, or set allow_duplicates: [{name}]"
    tests = {f"{split}/{pair.id}": (pairs_of, pair) for split, pairs_of in held_out.items() for pair in pairs_of.pairs}
    looks = [small for _, small in pairs.values()] + [thumbnail(s.image(pair)) for s, pair in tests.values()]
    if not pairs or not tests:
        return
    sides, names = ["made"] * len(pairs) + ["test"] * len(tests), [*pairs, *tests]
    for i, j, likeness in near_duplicates(np.array(looks, np.float32), sides, across=True):
        near = f"{names[i]} is nearly the held-out image {names[j]} (correlation {likeness:.4f})"
        yield f"leak: {near}: remove it, or set allow_duplicates: [{names[i]}]"


def _importer(
    row: Imported, name: str, found: Found, real: PairSet, parents: Mapping[str, str], folder: Path
) -> Callable[[Source], _Written | list[str]]:
    """Return the function that writes one pair under an id with `name` in front, or returns what is wrong with it."""
    threshold = found.mask_threshold if row.mask_threshold is None else row.mask_threshold
    reading = Reading(threshold, row.mask_threshold is not None, tuple(row.classes.values()))
    two_valued = row.mask_threshold is None and not row.classes and found.mask_threshold > 0
    classes = class_names(real.pairs[0])
    size_px = real.image(real.pairs[0]).shape[0]
    often = {one for one, count in Counter(source.id for source in found.sources).items() if count > 1}

    def import_pair(source: Source) -> _Written | list[str]:
        seen = look(source, threshold, stated=reading.stated)
        wrong = list(_faults(row, seen, two_valued=two_valued))
        if seen.size and seen.size != (size_px, size_px) and row.resize == "refuse":
            width, height = seen.size
            wrong.append(
                f"wrong_size: {source.image} is {width}x{height}, the real pairs are {size_px}x{size_px}: make pairs "
                "of that size, or set resize: stretch"
            )
        if wrong:
            return wrong
        try:
            image, labels = read_source(source, reading)
        except BadImageError as error:
            return [f"{error.code}: {error}"]
        if row.resize == "stretch":
            small = resize_mask(labels, size_px)
            if labels.any() and not small.any():
                mask = source.masks[0]
                return [f"empty_mask: {mask}: its lesion falls between the pixels of {size_px} px: remove the pair"]
            image, labels = resize_image(image, size_px, antialias=row.antialias), small
        own_id = "-".join((name, source.split, source.id) if source.id in often else (name, source.id))
        pair = Pair(
            own_id, *file_names(own_id), "train", row.source or name, source.domain,
            parent=parents.get(source.id, parents.get(source.own_name, "")), classes="|".join(classes),
        )  # fmt: skip
        return _Written(write_pair(folder, pair, image, labels), thumbnail(image))

    return import_pair


def write_imported(real: PairSet, name: str, row: Imported, folder: Path, held_out: Mapping[str, PairSet]) -> PairSet:
    """Write the pairs of another tool to `folder`, from all splits of its layout, under ids with `name` in front.

    Images and masks get the size of the real pairs, which they must have already unless the row says `stretch`.
    `held_out` are the validation and test sets, of which nothing may be among the pairs.

    Raises: UserError that names every file that is unmatched, damaged, mis-sized, grey, empty or a copy, all at once.
    """
    found = find(Path(row.path), row.layout)
    classes = class_names(real.pairs[0])
    wanted = classes if len(classes) > 1 else ()
    if tuple(row.classes) != wanted:
        said = f"the classes {', '.join(wanted)}, in this order" if wanted else "one class: leave `classes` out"
        raise UserError(f"baselines.{name}.classes: the data set has {said}; got {list(row.classes)}")
    problems = [f"{code_of(line)}: {line}" for line in found.unmatched]
    parents = _parents(row, found, real, problems)
    import_pair = _importer(row, name, found, real, parents, folder)
    results = list(threaded(import_pair, found.sources, title=name, unit="pair"))
    problems += [line for result in results if isinstance(result, list) for line in result]
    made = [result for result in results if isinstance(result, _Written)]
    problems += _leaks(row, made, real, held_out)
    if problems:
        raise UserError(to_mend(f"baselines.{name}, {row.path}", problems), problems)
    return write_manifest(folder, [pair for pair, _ in made])
