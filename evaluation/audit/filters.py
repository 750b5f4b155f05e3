"""Filters: which synthetic pairs are worth training on, decided from the table that the score stage writes.

Of the rows in config.py best_of.py does another kind, which keeps the number of pairs, and match_colour.py the colours.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.errors import UserError, few
from data.pairs.files import copy_file, sha256_file, whole_folder
from data.pairs.image_io import png_text, write_image
from data.pairs.manifest import PairSet, file_names, write_manifest
from data.pairs.tables import read_table
from evaluation.audit.config import CRITERIA, FilterRow
from evaluation.audit.match_colour import Recolour

Row = Mapping[str, str]


def read_scores(path: Path) -> list[dict[str, str]]:
    """Return the rows of the table that the score stage writes.

    Raises: UserError when it is not there or lacks a column.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there: the score stage writes it, run dvc repro")
    return read_table(path, ("id", *CRITERIA), unique="id")


def value(row: Row, criterion: str) -> float | None:
    """Return the number of a cell, of copies 1 and of others 0; None where it is empty or no number."""
    try:
        number = float(row.get(criterion) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def decide(rows: Iterable[Row], filter_row: FilterRow) -> dict[str, list[str]]:
    """Return for the id of each row the criteria that it fails, in the order of CRITERIA; none for what is kept.

    Raises: UserError that names every value that a criterion needs and the table does not have.
    """
    most = {"colour_drift": filter_row.max_colour_drift, "copy": 0}
    decided: dict[str, list[str]] = {}
    problems = []
    for row in rows:
        decided[row["id"]] = []
        for criterion in filter_row.criteria():
            number = value(row, criterion)
            if number is None:
                problems.append(f"{row['id']}: {criterion} is {row.get(criterion) or 'empty'!r}, a number is needed")
            elif number < filter_row.min_mask_fidelity if criterion == "mask_fidelity" else number > most[criterion]:
                decided[row["id"]].append(criterion)
    if problems:
        what_to_do = "see the reason in results/details/scores, or take this criterion out of the filter"
        raise UserError(f"the filter lacks {len(problems)} values: {what_to_do}", few(problems))
    return decided


def filter_pairs(
    synthetic: PairSet,
    table: Path,
    filter_row: FilterRow,
    out: Path,
    source: str,
    recolour: Recolour | None = None,
) -> dict[str, int | float | None]:
    """Write the pairs that pass as a pair set of that source, as `write_set` does, and return the counts.

    `dropped_<criterion>` counts the pairs that fail it, so a pair may count more than once; it is None for what the
    filter does not look at. Mask fidelities are means over the pairs with a value, 0-1.

    Raises: UserError when the table does not fit the set, lacks a value that is needed, or when nothing would be left.
    """
    rows = {row["id"]: row for row in read_scores(table)}
    ids = [pair.id for pair in synthetic.pairs]
    if set(rows) != set(ids):
        odd = sorted(set(rows) ^ set(ids))
        raise UserError(f"{table} is not of the pairs in {synthetic.folder}: score them again", few(odd))
    decided = decide((rows[name] for name in ids), filter_row)
    kept = [pair for pair in synthetic.pairs if not decided[pair.id]]
    if not kept:
        raise UserError(
            f"the filter {source} keeps none of {len(ids)} pairs: choose thresholds by the values that there are",
            [_distribution(criterion, rows.values()) for criterion in filter_row.criteria()],
        )
    write_set(replace(synthetic, pairs=tuple(kept)), out, source, recolour)
    failed = [criterion for reasons in decided.values() for criterion in reasons]
    looked_at = filter_row.criteria()
    return {
        "before": len(ids),
        "kept": len(kept),
        "dropped": len(ids) - len(kept),
        **{f"dropped_{name}": failed.count(name) if name in looked_at else None for name in CRITERIA},
        "mask_fidelity_before": _mean_fidelity(rows.values()),
        "mask_fidelity_after": _mean_fidelity(rows[pair.id] for pair in kept),
    }


def write_set(kept: PairSet, out: Path, source: str, recolour: Recolour | None = None) -> None:
    """Write a pair set of that source: files byte by byte, or images in other colours, with a line on it in their text.

    The paths of `kept` may lead anywhere.
    """
    with whole_folder(out) as folder:
        rows = []
        for pair in kept.pairs:
            image, mask = file_names(pair.id)
            copy_file(kept.folder / pair.mask, folder / mask)
            if recolour:
                changed, colours = recolour(pair, kept.image(pair))
                write_image(folder / image, changed, {**png_text(kept.folder / pair.image), "colours": colours})
            else:
                copy_file(kept.folder / pair.image, folder / image)
            digest = sha256_file(folder / image)
            rows.append(replace(pair, image=image, mask=mask, source=source, image_sha256=digest))
        write_manifest(folder, rows)


def _values(criterion: str, rows: Iterable[Row]) -> list[float]:
    return [number for row in rows if (number := value(row, criterion)) is not None]


def _mean_fidelity(rows: Iterable[Row]) -> float | None:
    values = _values("mask_fidelity", rows)
    return float(np.mean(values)) if values else None


def _distribution(criterion: str, rows: Iterable[Row]) -> str:
    values = _values(criterion, rows)
    if criterion == "copy":
        return f"copy: {int(sum(values))} of {len(values)} are copies"
    marks = ", ".join(f"{mark:.3g}" for mark in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    return f"{criterion}: minimum, quarters and maximum are {marks}"
