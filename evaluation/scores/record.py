"""One row of a details file: a score with all that is needed to read it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def entry(
    value: float | None,
    definition: str,
    *,
    n_real: int | None = None,
    n_synthetic: int | None = None,
    se: float | None = None,
    sd: float | None = None,
    floor: float | None = None,
    n_floor: int | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    reason: str | None = None,
    note: str | None = None,
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return a row for JSON.

    `se` is a standard error, `sd` a standard deviation over images or pairs. `floor` is the same statistic with
    `n_floor` held-out real images in place of the synthetic ones. `reason` says why the value is None; `note` is what a
    reader of the number must know.
    """
    return {
        "value": value,
        "se": se,
        "sd": sd,
        "floor": floor,
        "n_floor": n_floor,
        "n_real": n_real,
        "n_synthetic": n_synthetic,
        "backbone": backbone,
        "weights": weights,
        "definition": definition,
        "reason": reason,
        "note": note,
        **(more or {}),
    }


def mean_entry(values: np.ndarray, definition: str, *, reason: str | None = None, **facts: Any) -> dict[str, object]:
    """Return the row of a mean over images or pairs (N,) with its spread and error; null for `reason` without any."""
    if not len(values):
        return entry(None, definition, reason=reason, **facts)
    return entry(float(values.mean()), definition, sd=spread(values), se=standard_error(values), **facts)


def spread(values: Sequence[float] | np.ndarray) -> float | None:
    """Return the standard deviation (n - 1), or None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def standard_error(values: Sequence[float] | np.ndarray) -> float | None:
    """Return the standard error of the mean, or None for one value."""
    sd = spread(values)
    return None if sd is None else sd / len(values) ** 0.5
