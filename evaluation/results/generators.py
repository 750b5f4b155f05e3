"""Scores of the sets that a generator made after each of its trainings, as one: means, and how far they differ."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from evaluation.results.results import Scores

SPREADS = ("_sd", "_se", "_low", "_high")  # ends of the names of metrics that are spreads of others


def over_generators(scores: Iterable[Scores]) -> list[Scores]:
    """Return the scores with the sets that differ in the generator's seed alone taken together, in order of mention.

    A set that is alone stays as it is. Of several, a metric is the mean of those that have it, `<metric>_low` and
    `<metric>_high` are the lowest and the highest, in the place of every spread within one set: of two or three values
    that lie on one side of 0 or between 0 and 1 a standard deviation says things that cannot be. `details` has these as
    `value`, `low`, `high` and `trainings`, and the seeds as `generator_seeds`.
    """
    groups: dict[tuple[str, str, str], list[Scores]] = {}
    for one in scores:
        groups.setdefault(one.key[:3], []).append(one)
    return [group[0] if len(group) == 1 else _together(group) for group in groups.values()]


def _together(group: Sequence[Scores]) -> Scores:
    first = group[0]
    names = dict.fromkeys(name for one in group for name in one.metrics if not name.endswith(SPREADS))
    metrics: dict[str, float | None] = {}
    details: dict[str, Any] = {**first.details, "generator_seeds": [one.generator_seed for one in group]}
    for name in names:
        values = [value for one in group if (value := one.metrics.get(name)) is not None]
        metrics[name] = fmean(values) if values else None
        if name.startswith("n_"):
            continue
        span = {"low": min(values), "high": max(values)} if len(values) > 1 else {}
        metrics |= {f"{name}_{end}": value for end, value in span.items()}
        entries = [entry for one in group if isinstance(entry := one.details.get(name), Mapping)]
        recorded = next((entry for entry in entries if (entry.get("value") is None) == (not values)), {})
        details[name] = {**recorded, "value": metrics[name], "se": None, "sd": None, "trainings": len(values), **span}
    return Scores(first.dataset, first.source, first.masks, metrics, details)
