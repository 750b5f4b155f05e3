"""Masks for sampling: the real ones, the real ones transformed at random, or drawn in their place.

The paper writes only that "random" masks are transformed ones; its authors named flip, scale and shift, without ranges.
Transforms and limits here are ours, rows in params.yaml. A mask is a function of (seed, parent id, copy) and, where
lesions are swapped, of the set of masks; so the first copies never change when more are asked for.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np

from data.masks.config import InvertedMasks, PlacedMasks, RealMasks, ShapesMasks, TransformedMasks
from data.masks.constraints import Made, broken_constraint, change_of, touches_border
from data.masks.moves import apply_moves, donor_of, draw_moves, moves_as_text
from data.masks.preview import preview
from data.masks.shapes import Lesions, draw, measured, models_of
from data.pairs.files import whole_folder
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, class_names, complete, content, file_names, write_manifest
from data.pairs.parallel import threaded
from data.pairs.seeds import item_seed
from data.pairs.tables import write_table

Array = np.ndarray
NewKey = tuple[int, str]  # copy, id of the real pair in whose place a new mask stands
PROVENANCE = ("id", "parent", "donor", "copy", "attempts", "moves", "area_before", "area_after", "lost", "change",
              "touches_border")  # fmt: skip


def transform_mask(
    labels: Array, row: TransformedMasks, seed: int, donors: Sequence[str], donor_labels: Callable[[str], Array]
) -> Made:
    """Return a transformed mask, uint8 (H, W) of the labels that came in, and how it was made.

    Draws that break a constraint are rejected; after `attempts` of them the mask is only flipped, which keeps its area
    and loses nothing. Masks without lesion stay so. `donor_labels` gives the labels of each of the `donors`, the ids of
    masks whose lesion may take the place of this one.
    """
    rng = np.random.default_rng(seed)
    rejected: Counter[str] = Counter()
    for attempt in range(1, row.attempts + 2):
        last = attempt > row.attempts
        moves = draw_moves(row.transforms, rng, donors, only=("flip",) if last else ()) if labels.any() else []
        moved, lost = apply_moves(labels, moves, donor_labels)
        origin = donor_labels(donor_of(moves)) if donor_of(moves) else labels
        broken = "" if last or not labels.any() else broken_constraint(row.constraints, moved, lost, labels, origin)
        if not broken:
            break
        rejected[broken] += 1
    how = {"attempts": attempt, "moves": moves_as_text(moves), "donor": donor_of(moves), "lost": round(lost, 4)}
    return Made(moved, how, rejected)


def flipped_mask(labels: Array, attempts: int, rejected: Counter[str]) -> Made:
    """Return what stands where every draw was rejected: the parent's mask (H, W), left and right exchanged."""
    moves = [{"name": "flip", "x": True, "y": False}]
    how = {"attempts": attempts + 1, "moves": moves_as_text(moves), "donor": "", "lost": 0.0}
    return Made(apply_moves(labels, moves, lambda _: labels)[0], how, rejected)


def drawn_mask(labels: Array, row: ShapesMasks, seed: int, lesions: Lesions, model: str, model_labels: Array) -> Made:
    """Return a mask drawn after a training mask, uint8 (H, W) in {0, 1}, of the size of the one whose place it takes.

    Draws that break a constraint are rejected; after `attempts` of them the mask whose place it takes is flipped.
    """
    rng = np.random.default_rng(seed)
    rejected: Counter[str] = Counter()
    for attempt in range(1, row.attempts + 1):
        drawn = draw(lesions, model, (labels.shape[0], labels.shape[1]), rng)
        broken = broken_constraint(row.constraints, drawn.labels, drawn.lost, labels, model_labels)
        if not broken and row.constraints.connected == "as_parent" and not drawn.apart:
            broken = "connected"
        if not broken:
            how = {"attempts": attempt, "moves": drawn.text, "donor": "", "lost": round(drawn.lost, 4)}
            return Made(drawn.labels, how, rejected)
        rejected[broken] += 1
    return flipped_mask(labels, row.attempts, rejected)


def _writer(real: PairSet, name: str, row: PlacedMasks, folder: Path, new: Mapping[NewKey, Made]) -> Callable:
    """Return the function of (copy, parent) that writes one mask and returns its rows and what was rejected.

    Padding takes no part and stays empty. A mask that is drawn, or of `new`, has no parent, unless it is a flipped one.
    """
    if isinstance(row, ShapesMasks):
        lesions = measured(real, name)
        models = {copy: models_of(lesions, row.seed, copy) for copy in range(1, row.copies + 1)}
    donors = {pair.id: pair for pair in real.pairs if pair.foreground}

    def donor_labels(donor: str) -> Array:
        return content(donors[donor], real.labels(donors[donor]))

    def write(task: tuple[int, Pair]) -> tuple[Pair, dict[str, object], Counter[str]]:
        copy, parent = task
        framed = real.labels(parent)
        before = content(parent, framed)
        made = Made(before, {"attempts": 1, "moves": "[]", "donor": "", "lost": 0.0}, Counter())
        if isinstance(row, TransformedMasks):
            others = [donor for donor in donors if donor != parent.id]
            made = transform_mask(before, row, item_seed(row.seed, parent.id, copy), others, donor_labels)
        if isinstance(row, InvertedMasks) and before.any():
            made = new[copy, parent.id]
        if isinstance(row, ShapesMasks) and before.any():
            model = models[copy][parent.id]
            seed = item_seed(row.seed, parent.id, copy)
            made = drawn_mask(before, row, seed, lesions, model, donor_labels(model))
        if not isinstance(row, RealMasks):
            framed = np.zeros_like(framed)
            content(parent, framed)[:] = made.labels
        is_new = isinstance(row, InvertedMasks | ShapesMasks) and made.rejected.total() < row.attempts
        origin = "" if is_new else parent.id
        mask_id = f"{parent.id}-{name}-{copy}"
        pair = replace(parent, id=mask_id, image="", image_sha256="", mask=file_names(mask_id)[1], native="")
        group = parent.group if origin else ""
        pair = replace(pair, source=name, parent=origin, group=group, donor=str(made.how["donor"]))
        write_mask(folder / str(copy) / pair.mask, framed, len(class_names(pair)))
        facts = {
            "area_before": round(float((before > 0).mean()), 6),
            "area_after": round(float((made.labels > 0).mean()), 6),
            "change": round(change_of(made.labels, before), 4),
            "touches_border": int(touches_border(made.labels)),
        }
        line = {"id": mask_id, "parent": origin, "copy": copy, **made.how, **facts}
        return complete(folder / str(copy), pair), line, made.rejected

    return write


def write_masks(
    real: PairSet, name: str, row: PlacedMasks, out_dir: Path, new: Mapping[NewKey, Made] = MappingProxyType({})
) -> dict[str, object]:
    """Write the masks of every copy to out_dir/<copy>/ and a picture of some; return what was counted.

    A folder of masks is a pair set without images, with provenance.csv beside its manifest; `parent` is the real pair.
    `new` are the masks of kind inverted for every copy and real mask with a lesion; they have no parent, but where each
    draw was rejected.
    The count says how many draws each constraint rejected, how many masks are only flipped (or, without a flip among
    the transforms, copies), how many real masks lie outside the area that is asked for, and how many masks are empty.
    """
    rejected: Counter[str] = Counter()
    tasks = [(copy, parent) for copy in range(1, row.copies + 1) for parent in real.pairs]
    only_flipped = outside = 0
    if isinstance(row, TransformedMasks):
        low, high = row.constraints.area
        outside = sum(bool(pair.foreground) and not low <= pair.foreground <= high for pair in real.pairs)
    with whole_folder(out_dir) as folder:
        done = threaded(_writer(real, name, row, folder, new), tasks, title="masks", unit="mask")
        for copy in range(1, row.copies + 1):
            made = list(islice(done, len(real)))
            write_manifest(folder / str(copy), [pair for pair, _, _ in made])
            write_table(folder / str(copy) / "provenance.csv", PROVENANCE, [line for _, line, _ in made])
            for _, _, reasons in made:
                rejected += reasons
                only_flipped += not isinstance(row, RealMasks) and reasons.total() == row.attempts
        write_image(folder / "preview.png", preview(real, folder, row.copies))
    return {
        "masks": len(tasks),
        "rejected_draws": {"all": rejected.total(), **dict(sorted(rejected.items()))},
        "only_flipped": only_flipped,
        "parents_outside_area": outside,
        "without_lesion": row.copies * sum(not pair.foreground for pair in real.pairs),
    }
