"""Masks that somebody gives to a generator together: a folder or a list, with all their problems at once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from data.given_masks.read import Given, Mask, Wanted, labels_of, read_given
from data.layouts.mask_folder import mask_files, read_mask_file
from data.mask_files.checks import mask_facts, set_hints, set_problems
from data.pairs.errors import UserError, few, one_line, to_mend
from data.pairs.image_io import write_mask
from data.pairs.manifest import (
    MANIFEST,
    Pair,
    PairSet,
    class_names,
    complete,
    file_names,
    id_problem,
    read_pairs,
    write_manifest,
)
from data.pairs.parallel import threaded
from data.readers.reading import size_text
from data.readers.sources import plain_stem

SHOWN = 3  # names in a sentence
KEYS = "what a line wants of the data-set row goes into reading: mask_threshold, classes, as_background, inverted_masks"


def resized_text(given: Sequence[Given], wanted: Wanted) -> str:
    """Return one sentence that says which masks were resized and how, or nothing."""
    side = wanted.size_px
    resized = [mask for mask in given if mask.own.shape != (side, side)]
    if not resized:
        return ""
    sizes = Counter(size_text(mask.own) for mask in resized)
    shown = ", ".join(size for size, _ in sizes.most_common(SHOWN)) + (", ..." if len(sizes) > SHOWN else "")
    text = f"{len(resized)} of {len(given)} masks were resized to {side}x{side} px by nearest neighbour, from {shown}"
    odd = [mask for mask in resized if mask.own.shape[0] != mask.own.shape[1]]
    if not odd:
        return text
    how = "stretched (fit: letterbox keeps proportions)" if wanted.how.fit == "stretch" else "framed by background"
    return f"{text}; {len(odd)} that are no squares were {how}"


def _problems_of_all(given: Sequence[Given], wanted: Wanted) -> tuple[list[str], list[str]]:
    """Return what is wrong with all masks together, and what is worth a look."""
    facts = [mask_facts(mask.own, mask.pair.id) for mask in given]
    if given and not any(mask.foreground for mask in facts):
        return [f"no mask of {len(facts)} has a lesion: was it drawn in another layer, channel or file?"], []
    problems = set_problems({"masks": facts}, inverted=wanted.how.inverted_masks)
    said = [line.removeprefix("split masks: ").removeprefix("all splits: ") for line in problems]
    empty = [mask.id for mask in facts if not mask.foreground]
    hints = [f"{len(empty)} of {len(facts)} masks have no lesion: {', '.join(few(empty, SHOWN))}"] if empty else []
    return said, [*hints, *([] if wanted.how.inverted_masks is False else set_hints(facts))]


def _checked(
    results: Sequence[Given | str], wanted: Wanted, title: str, problems: Sequence[str] = (), *, prepared: bool = False
) -> tuple[list[Given], list[str]]:
    """Return the masks and what is worth a look; as a whole, `prepared` ones were looked at when they were prepared.

    Raises: UserError with all problems at once.
    """
    given = [result for result in results if isinstance(result, Given)]
    problems = [*problems, *(result for result in results if isinstance(result, str))]
    hints: list[str] = []
    if not problems and not prepared:
        problems, hints = _problems_of_all(given, wanted)
    if problems:
        raise UserError(to_mend(title, problems), [*sorted(problems), KEYS])
    return given, [line for line in (resized_text(given, wanted), *hints) if line]


def _id_problems(ids: Sequence[str]) -> Iterator[str]:
    """Yield a line for every name that no file can have, and every name that stands for several masks."""
    for name, count in Counter(ids).items():
        if problem := id_problem(name):
            yield f"{one_line(name)}: {problem}"
        if count > 1:
            yield f"{one_line(name)}: {count} masks have this name: each image is named after its mask"


def given_masks(
    masks: Sequence[Mask], wanted: Wanted, ids: Sequence[str] | None = None
) -> tuple[list[Given], list[str]]:
    """Return masks in their order as a generator takes them, and sentences on what was done and is worth a look.

    Without `ids`, files are named by their stems, and others mask-0001, mask-0002, ... by their place.

    Raises: UserError with every mask that is not read as it should be, and every name that stands twice.
    """
    if ids is not None and len(ids) != len(masks):
        raise UserError(f"{len(ids)} ids for {len(masks)} masks: give one for each")
    stems = [plain_stem(Path(m)) if isinstance(m, str | Path) else f"mask-{n:04d}" for n, m in enumerate(masks, 1)]
    names = [str(name) for name in ids or stems]
    places = [str(mask) if isinstance(mask, str | Path) else name for mask, name in zip(masks, names, strict=True)]
    results = [
        read_given(_row(name, wanted), partial(labels_of, mask, wanted, place), place, wanted)
        for name, mask, place in zip(names, masks, places, strict=True)
    ]
    return _checked(results, wanted, "masks", list(_id_problems(names)))


def given_folder(folder: Path, wanted: Wanted, own: Path | None = None) -> tuple[list[Given], list[str]]:
    """Return the masks of a folder sorted by id, and sentences on what was done, is worth a look or was not read.

    Files lie in the folder itself; one that holds manifest.csv is a set of masks or pairs of this project, whose ids
    and parents stay. `own` are the generator's training pairs, which are the parents of their own masks.

    Raises: UserError with every mask that is not read as it should be, at once, and for a folder without masks.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give one that holds masks as pictures")
    if (folder / MANIFEST).is_file():
        try:
            masks = read_pairs(folder)
        except UserError as error:
            plain = f"{MANIFEST} makes a folder a pair set of this project: where its pictures are plain masks, move it"
            raise UserError(error.title, [*error.problems, plain]) from error
        return _prepared(masks, wanted, are_parents=bool(own) and folder.resolve() == own)
    files, *lines = mask_files(folder, deep=False)
    problems, others = ([line.partition(": ")[2] for line in of_kind] for of_kind in lines)
    if not files:
        there = few([line for line in (*problems, *others) if not line.endswith("holds no mask")])
        raise UserError(f"{folder} holds no masks: give a folder with one picture for each mask", there)

    def read(task: tuple[str, Path]) -> Given | str:
        return read_given(_row(task[0], wanted), partial(read_mask_file, task[1], wanted.reading), str(task[1]), wanted)

    results = list(threaded(read, list(files.items()), title="masks", unit="mask"))
    given, notes = _checked(results, wanted, str(folder), problems)
    return sorted(given, key=lambda mask: mask.pair.id), [*notes, *few(others, SHOWN)]


def _row(mask_id: str, wanted: Wanted) -> Pair:
    return Pair(mask_id, "", file_names(mask_id)[1], "train", "", classes="|".join(wanted.classes))


def _prepared(masks: PairSet, wanted: Wanted, *, are_parents: bool) -> tuple[list[Given], list[str]]:
    others = {pair.classes for pair in masks.pairs} - {"|".join(wanted.classes)}
    if others or not masks.pairs:
        what = f"its classes are {', '.join(sorted(others))}" if others else "it is empty"
        raise UserError(
            f"{masks.folder}: {what}, but the generator makes images for masks of {', '.join(wanted.classes)}"
        )
    results = []
    for pair in masks.pairs:
        row = replace(pair, image="", image_sha256="", native="", parent=pair.id if are_parents else pair.parent)
        results.append(read_given(row, partial(masks.labels, pair), pair.id, wanted))
    return _checked(results, wanted, str(masks.folder), prepared=True)


def write_given(given: Sequence[Given], folder: Path) -> PairSet:
    """Write masks as a pair set without images and return it."""
    rows = []
    for mask in given:
        pair = replace(mask.pair, mask=file_names(mask.pair.id)[1])
        write_mask(folder / pair.mask, mask.labels, len(class_names(pair)))
        rows.append(complete(folder, pair))
    return write_manifest(folder, rows)
