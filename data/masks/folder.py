"""Any folder of masks, read as strictly as the masks of a data set."""

from collections.abc import Mapping
from pathlib import Path

from data.layouts.mask_folder import mask_files, read_mask_file
from data.mask_files.checks import mask_facts, set_problems
from data.mask_files.read import Reading
from data.masks.given import Given, check_classes, given_mask, lost_text, side_of
from data.masks.given_config import FolderMasks
from data.masks.held_out import held_out_masks, same_masks
from data.pairs.errors import BadImageError, UserError, to_mend
from data.pairs.image_io import MASK_THRESHOLD
from data.pairs.manifest import Pair, PairSet
from data.pairs.parallel import threaded
from data.pairs.resize import framed_mask
from data.readers.reading import size_text


def folder_masks(row: FolderMasks, name: str, real: PairSet, held_out: Mapping[str, PairSet]) -> list[Given]:
    """Return the masks of a folder; `held_out` are the validation and test sets, of which none may be among them.

    Raises: UserError that names every file that cannot be read as the row says, is empty, full, of another size, there
    twice, or the mask of a held-out pair, all at once, and what is wrong with all masks together.
    """
    check_classes(name, f"masks.{name}", tuple(row.classes), real)
    found = mask_files(Path(row.path), deep=True)
    problems = [*found.problems, *found.unread]
    size_px, classes = side_of(real), real.pairs[0].classes
    threshold = MASK_THRESHOLD if row.mask_threshold is None else row.mask_threshold
    reading = Reading(
        threshold, row.mask_threshold is not None, tuple(row.classes.values()), row.as_background,
        bool(row.inverted_masks),
    )  # fmt: skip

    def read(task: tuple[str, Path]) -> Given | str:
        own_id, path = task
        try:
            labels = read_mask_file(path, reading)
        except BadImageError as error:
            return f"{error.code}: {error}".replace("in the data-set row", f"in masks.{name}")
        if row.resize == "refuse" and labels.shape != (size_px, size_px):
            sizes = f"is {size_text(labels)}, the real masks are {size_px}x{size_px}"
            return f"wrong_size: {path}: {sizes}: set resize: stretch, or letterbox, which keeps proportions"
        facts = mask_facts(labels, own_id)
        if facts.foreground in (0, 1) and not (row.allow_empty and not facts.foreground):
            what = "holds nothing but lesion" if facts.foreground else "has no lesion"
            more = "" if facts.foreground else ", or set allow_empty: true"
            return f"{'full' if facts.foreground else 'empty'}_mask: {path}: {what}: remove it{more}"
        framed, box = framed_mask(labels, size_px, letterbox=row.resize == "letterbox")
        if lost := lost_text(labels, framed, real):
            return f"lost_lesion: {path}: {lost}: remove it, or draw it larger"
        return given_mask(Pair(own_id, "", "", "train", name, box=box, classes=classes), str(path), framed, facts)

    results = list(threaded(read, list(found.files.items()), title="masks", unit="mask"))
    given = [result for result in results if isinstance(result, Given)]
    problems += [result for result in results if isinstance(result, str)]
    problems += same_masks(given, row.allow_duplicates)
    what_to_do = "remove it, or set allow_duplicates: [{id}]"
    problems += held_out_masks(given, held_out, what_to_do, row.allow_duplicates)
    if not problems:
        found_odd = set_problems({name: [mask.facts for mask in given]}, inverted=row.inverted_masks)
        problems = [line.partition(": ")[2] for line in found_odd]  # without the name of a split
    if problems:
        raise UserError(to_mend(f"masks.{name}, {row.path}", problems), problems)
    return given
