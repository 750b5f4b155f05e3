"""Masks for sampling: the real ones, or the real ones moved at random.

The paper writes only that "random" masks are transformed ones; its authors named flip, scale and shift, without ranges.
Ranges and limits here are ours, rows in params.yaml. A mask is a function of (seed, parent id, copy), so that the first
copies never change when more are asked for.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from data.pairs.config import Masks, TransformedMasks
from data.pairs.files import whole_folder
from data.pairs.image_io import write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from data.pairs.seeds import item_seed

PROVENANCE = ("id", "parent", "copy", "attempts", "moves", "area_before", "area_after", "lost")


def _draw_moves(row: TransformedMasks, rng: np.random.Generator, *, only_flip: bool) -> dict[str, float]:
    moves: dict[str, float] = {"flip_x": int(rng.random() < row.flip), "flip_y": int(rng.random() < row.flip)}
    if only_flip:
        return {**moves, "scale": 1.0, "rotate_deg": 0.0, "shift_x": 0.0, "shift_y": 0.0}
    # Drawn on a log scale, so that halving and doubling are equally likely.
    scale = float(np.exp(rng.uniform(*np.log(row.scale))))
    turn = float(rng.uniform(-row.rotate_deg, row.rotate_deg))
    shift_x, shift_y = (float(v) for v in rng.uniform(-row.shift, row.shift, 2))
    return {**moves, "scale": scale, "rotate_deg": turn, "shift_x": shift_x, "shift_y": shift_y}


def apply_moves(mask: np.ndarray, moves: dict[str, float]) -> tuple[np.ndarray, float]:
    """Return the moved mask, uint8 (H, W) in {0, 1}, and the share of the lesion that left the frame, 0-1.

    Scale and rotation are about the centre of the lesion, so that scaling does not push it out of the frame; shifts are
    shares of the side. Drawn on a canvas of three times the side, which shows what leaves the frame.
    """
    height, width = mask.shape
    mask = mask[:, ::-1] if moves["flip_x"] else mask
    mask = mask[::-1] if moves["flip_y"] else mask
    ys, xs = np.nonzero(mask)
    center = (float(xs.mean()), float(ys.mean())) if len(xs) else (width / 2, height / 2)
    matrix = cv2.getRotationMatrix2D(center, moves["rotate_deg"], moves["scale"])
    matrix[:, 2] += (width + moves["shift_x"] * width, height + moves["shift_y"] * height)
    canvas = cv2.warpAffine(
        np.ascontiguousarray(mask), matrix, (3 * width, 3 * height), flags=cv2.INTER_NEAREST, borderValue=0
    )
    moved = np.ascontiguousarray(canvas[height : 2 * height, width : 2 * width])
    total = int(canvas.sum())
    return moved, 1 - int(moved.sum()) / total if total else 0.0


def transform_mask(mask: np.ndarray, row: TransformedMasks, *seed_parts: int | str) -> tuple[np.ndarray, dict]:
    """Return a moved mask, uint8 (H, W) in {0, 1}, and how it was made.

    Draws are rejected while the lesion leaves the frame by more than `lost` or its area is out of bounds; after
    `attempts` draws the parent is only flipped, which keeps its area and loses nothing. Empty masks stay empty.
    """
    rng = np.random.default_rng(item_seed(row.seed, *seed_parts))
    for attempt in range(1, row.attempts + 2):
        moves = _draw_moves(row, rng, only_flip=attempt > row.attempts or not mask.any())
        moved, lost = apply_moves(mask, moves)
        if attempt > row.attempts or not mask.any():
            break
        if row.area[0] <= moved.mean() <= row.area[1] and lost <= row.lost:
            break
    how = {"attempts": attempt, "moves": json.dumps(moves, sort_keys=True), "lost": round(lost, 4)}
    return moved, how


def write_masks(real: PairSet, name: str, row: Masks, out_dir: Path) -> dict[str, int]:
    """Write the masks of every copy to out_dir/<copy>/ with manifest.csv and provenance.csv; return what was counted.

    A folder of masks is a pair set without images; `parent` is the real pair. The count says how many draws were
    rejected and how many masks fell back to flips.
    """
    rejected = flipped_only = 0
    with whole_folder(out_dir) as folder:
        for copy in range(1, row.copies + 1):
            rows: list[Pair] = []
            made: list[dict] = []
            for parent in real.pairs:
                mask = before = real.mask(parent)
                how: dict = {"attempts": 1, "moves": "{}", "lost": 0.0}
                if isinstance(row, TransformedMasks):
                    mask, how = transform_mask(before, row, parent.id, copy)
                    rejected += how["attempts"] - 1
                    flipped_only += how["attempts"] > row.attempts
                mask_id = f"{parent.id}-{name}-{copy}"
                pair = replace(parent, id=mask_id, image="", image_sha256="", mask=f"masks/{mask_id}.png")
                pair = replace(pair, source=name, parent=parent.id)
                write_mask(folder / str(copy) / pair.mask, mask)
                rows.append(complete(folder / str(copy), pair))
                areas = {"area_before": round(float(before.mean()), 6), "area_after": round(float(mask.mean()), 6)}
                made.append({"id": mask_id, "parent": parent.id, "copy": copy, **how, **areas})
            write_manifest(folder / str(copy), rows)
            with (folder / str(copy) / "provenance.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, PROVENANCE, lineterminator="\n")
                writer.writeheader()
                writer.writerows(made)
    return {"masks": len(real) * row.copies, "rejected_draws": rejected, "flipped_only": flipped_only}
