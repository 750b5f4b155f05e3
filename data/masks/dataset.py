"""The masks of another data set that is prepared."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from data.mask_files.checks import mask_facts
from data.masks.given import Given, check_classes, given_mask, lost_text, side_of
from data.masks.given_config import DatasetMasks
from data.masks.held_out import held_out_masks
from data.pairs.errors import UserError, to_mend
from data.pairs.manifest import MANIFEST, Pair, PairSet, class_names, content, content_box, read_pairs
from data.pairs.parallel import threaded
from data.pairs.resize import framed_mask


def dataset_masks(
    row: DatasetMasks, name: str, real: PairSet, folder: Path, held_out: Mapping[str, PairSet]
) -> list[Given]:
    """Return the masks of the prepared pair set in a folder, brought to the size of the real ones.

    Where they are those of the real pairs themselves, these are their parents.

    Raises: UserError when the set is not prepared, has other classes, or holds masks of held-out pairs or such whose
    lesion is lost at that size.
    """
    if not (folder / MANIFEST).is_file():
        how = f"run: python -m pipeline repro prepare@{row.dataset}; if it is, it has no split {row.split}"
        raise UserError(f"masks.{name}: {folder} is not there: the data set is not prepared yet", [how])
    pairs = read_pairs(folder, empty=False)
    classes = class_names(pairs.pairs[0])
    check_classes(name, f"datasets.{row.dataset}", classes if len(classes) > 1 else (), real)
    if unknown := sorted(set(row.without) - {pair.id for pair in pairs.pairs}):
        raise UserError(f"masks.{name}.without: no pairs of {folder}: {', '.join(unknown)}")
    own, size_px = folder.resolve() == real.folder.resolve(), side_of(real)

    def bring(pair: Pair) -> Given | str:
        labels = content(pair, pairs.labels(pair))
        framed, box = framed_mask(labels, size_px, letterbox=content_box(pair) is not None)
        if lost := lost_text(labels, framed, real):
            return f"lost_lesion: {row.dataset}/{row.split}/{pair.id}: {lost}: leave it out, without: [{pair.id}]"
        given = Pair(pair.id, "", "", "train", name, box=box, classes=real.pairs[0].classes)
        if own:
            given = replace(given, parent=pair.id, domain=pair.domain, group=pair.group)
        return given_mask(given, f"{row.dataset}/{row.split}/{pair.id}", framed, mask_facts(labels, pair.id))

    kept = [pair for pair in pairs.pairs if pair.id not in row.without]
    results = list(threaded(bring, kept, title="masks", unit="mask"))
    given = [result for result in results if isinstance(result, Given)]
    if not results:
        raise UserError(f"masks.{name}.without: leaves none of the {len(pairs)} pairs of {folder}")
    problems = [result for result in results if isinstance(result, str)]
    if not own:
        problems += held_out_masks(given, held_out, "leave it out, without: [{id}]", row.without)
    if problems:
        raise UserError(to_mend(f"masks.{name}, {folder}", problems), problems)
    return given
