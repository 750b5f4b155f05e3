"""Masks for sampling: the real ones, or the real ones transformed at random.

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
from typing import NamedTuple

import cv2
import numpy as np

from data.drawing import evenly, outlined, tiled
from data.masks.config import Constraints, InvertedMasks, Masks, RealMasks, TransformedMasks
from data.masks.moves import apply_moves, donor_of, draw_moves, moves_as_text
from data.pairs.files import whole_folder, write_table
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, class_names, complete, content, file_names, read_pairs, write_manifest
from data.pairs.parallel import threaded
from data.pairs.resize import resize_mask
from data.pairs.seeds import item_seed

Array = np.ndarray
NewKey = tuple[int, str]  # copy, id of the real pair in whose place a new mask stands
PREVIEW_ROWS, PREVIEW_COPIES, TILE_PX, GAP_PX = 8, 4, 128, 4
COLOURS = np.array([(0, 0, 0), (235, 235, 235), (230, 159, 0), (86, 180, 233), (0, 158, 115)], np.uint8)
PARENT = (((255, 60, 60), 1),)
PROVENANCE = ("id", "parent", "donor", "copy", "attempts", "moves", "area_before", "area_after", "lost", "change",
              "touches_border")  # fmt: skip


class Made(NamedTuple):
    """A mask of labels, how it was made, and why draws before it were rejected."""

    labels: Array
    how: dict[str, object]
    rejected: Counter[str]


def _pieces(labels: Array) -> int:
    return cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)[0] - 1


def _touches_border(labels: Array) -> bool:
    return bool(labels[0].any() or labels[-1].any() or labels[:, 0].any() or labels[:, -1].any())


def _change(labels: Array, parent: Array) -> float:
    """Return 1 - IoU of two masks, 0-1."""
    either = np.count_nonzero((labels > 0) | (parent > 0))
    return 1 - np.count_nonzero((labels > 0) & (parent > 0)) / either if either else 0.0


def broken_constraint(row: Constraints, labels: Array, lost: float, parent: Array, origin: Array) -> str:
    """Return the name of the first constraint that a mask breaks, or an empty text.

    `parent` is the mask in whose place it stands, `origin` the one that its shape comes from: the parent too, unless
    lesions were swapped.
    """
    if not row.area[0] <= np.count_nonzero(labels) / labels.size <= row.area[1]:
        return "area"
    if lost > row.lost:
        return "lost"
    if set(np.unique(labels)) != set(np.unique(origin)):
        return "class_lost"
    if row.connected != "any" and _pieces(labels) > (1 if row.connected == "one" else _pieces(origin)):
        return "connected"
    touches = _touches_border(labels)
    if (touches and row.border == "never") or (row.border == "as_parent" and touches != _touches_border(origin)):
        return "border"
    if row.change and min(_change(labels, parent), _change(labels, origin)) < row.change:
        return "change"
    return ""


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


def _writer(real: PairSet, name: str, row: Masks, folder: Path, new: Mapping[NewKey, Made]) -> Callable:
    """Return the function of (copy, parent) that writes one mask and returns its rows and what was rejected.

    Padding takes no part and stays empty. A mask of `new` that is not a flipped one has no parent.
    """
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
        if not isinstance(row, RealMasks):
            framed = np.zeros_like(framed)
            content(parent, framed)[:] = made.labels
        origin = "" if isinstance(row, InvertedMasks) and made.how["moves"] == "[]" else parent.id
        mask_id = f"{parent.id}-{name}-{copy}"
        pair = replace(parent, id=mask_id, image="", image_sha256="", mask=file_names(mask_id)[1], native="")
        pair = replace(pair, source=name, parent=origin, donor=str(made.how["donor"]))
        write_mask(folder / str(copy) / pair.mask, framed, len(class_names(pair)))
        facts = {
            "area_before": round(float((before > 0).mean()), 6),
            "area_after": round(float((made.labels > 0).mean()), 6),
            "change": round(_change(made.labels, before), 4),
            "touches_border": int(_touches_border(made.labels)),
        }
        line = {"id": mask_id, "parent": origin, "copy": copy, **made.how, **facts}
        return complete(folder / str(copy), pair), line, made.rejected

    return write


def _tile(labels: np.ndarray) -> np.ndarray:
    """Return uint8 (TILE_PX, TILE_PX, 3), a colour a class; further classes begin anew after the last colour."""
    small = resize_mask(labels, TILE_PX).astype(int)
    return COLOURS[np.where(small > 0, 1 + (small - 1) % (len(COLOURS) - 1), 0)]


def preview(real: PairSet, folder: Path, copies: int) -> np.ndarray:
    """Return uint8 (H, W, 3): a row for each of up to eight real masks, evenly chosen, and its first four copies.

    The real mask comes first; its outline lies in red over what was made of it.
    """
    sets = [read_pairs(folder / str(copy)) for copy in range(1, min(copies, PREVIEW_COPIES) + 1)]
    by_parent = [
        {pair.id.removesuffix(f"-{pair.source}-{copy}"): pair for pair in masks.pairs}
        for copy, masks in enumerate(sets, 1)
    ]
    cells = []
    for parent in evenly(real.pairs, PREVIEW_ROWS):
        labels = real.labels(parent)
        cells.append(_tile(labels))
        for masks, pairs in zip(sets, by_parent, strict=True):
            cells.append(outlined(_tile(masks.labels(pairs[parent.id])), labels, PARENT, fine=False))
    return tiled(cells, 1 + len(sets), TILE_PX, GAP_PX, (90, 90, 90))


def write_masks(
    real: PairSet, name: str, row: Masks, out_dir: Path, new: Mapping[NewKey, Made] = MappingProxyType({})
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
