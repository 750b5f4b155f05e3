"""Distances between feature sets with their yardsticks: held-out real images, halves of the real set, a codec."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from data.pairs.seeds import item_seed
from evaluation.features.config import ScoresConfig
from evaluation.features.store import Features
from evaluation.scores.distances import MIN_IMAGES, frechet, mmd2_subsets, mmd2_u, poly
from evaluation.scores.prdc import PRDC_TEXT, Prdc, equal_counts, prdc
from evaluation.scores.record import entry

Statistic = Callable[[np.ndarray, np.ndarray], float]
Entries = dict[str, dict[str, object]]
SUBSET_SIZE = 1000
UNEQUAL = "the sets differ in size, and the bias depends on it: compare with other sets at the same sizes only"
FEW_HELD_OUT = "the floor is of another number of images (n_floor), so its bias is another: fewer raise it"
SMALL = "biased upwards in small sets: compare only at equal n; no spread, because a bootstrap is biased too"


class Sets(NamedTuple):
    """The same features of four sets of images, each (n, d)."""

    train: np.ndarray
    holdout: np.ndarray
    codec: np.ndarray
    synthetic: np.ndarray


def sets_of(parts: Mapping[str, Features]) -> Sets:
    """Return the features of each part."""
    return Sets(*(parts[part]["features"] for part in Sets._fields))


def counts(parts: Mapping[str, Features]) -> dict[str, int]:
    """Return the numbers of images that stand behind a score."""
    names = {"n_real": "train", "n_synthetic": "synthetic", "n_floor": "holdout"}
    return {name: len(parts[part]) for name, part in names.items()}


def common_facts(parts: Mapping[str, Features]) -> dict[str, object]:
    """Return what every score of an extractor has in common."""
    meta = parts["synthetic"].meta
    weights = "; ".join(f"{name} {digest}" for name, digest in meta["weights"].items())
    return {**counts(parts), "backbone": meta["backbone"], "weights": weights}


def distance_entry(
    definition: str,
    statistic: Statistic,
    sets: Sets,
    facts: Mapping[str, object],
    *,
    note: str = "",
    se: float | None = None,
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return the row of a distance with its yardsticks.

    `floor` is held-out real images in place of synthetic ones, `halves` one random half of the training images against
    the other (each of half the size, so its bias is larger), `codec` the training images after a pass through JPEG 95.
    Each is None where a set is too small.
    """

    def yardstick(real: np.ndarray, other: np.ndarray) -> float | None:
        return statistic(real, other) if min(len(real), len(other)) >= MIN_IMAGES else None

    order = np.random.default_rng(item_seed("halves")).permutation(len(sets.train))
    half, other = np.array_split(order, 2)
    more = {
        "halves": yardstick(sets.train[half], sets.train[other]),
        "codec": yardstick(sets.train, sets.codec),
        **(more or {}),
    }
    value, floor = statistic(sets.train, sets.synthetic), yardstick(sets.train, sets.holdout)
    return entry(value, definition, se=se, floor=floor, note=note or None, more=more, **facts)


def frechet_entry(definition: str, sets: Sets, facts: Mapping[str, object], note: str = "") -> dict:
    """Return the row of a Frechet distance."""
    unequal, apart = facts["n_real"] != facts["n_synthetic"], facts["n_floor"] != facts["n_synthetic"]
    notes = [note, SMALL, UNEQUAL if unequal else "", FEW_HELD_OUT if apart else ""]
    return distance_entry(definition, frechet, sets, facts, note=" ".join(filter(None, notes)))


def kernel_entry(definition: str, sets: Sets, cfg: ScoresConfig, facts: Mapping[str, object], note: str = "") -> dict:
    """Return the row of a KID: unbiased over the whole sets, its jackknife error, and what libraries print."""
    se = mmd2_u(sets.train, sets.synthetic, poly)[1]
    smallest = min(len(sets.train), len(sets.synthetic))
    size = cfg.kid_subset_size
    if size == "auto":
        size = SUBSET_SIZE if smallest >= SUBSET_SIZE else max(MIN_IMAGES, smallest // 2)
    rng = np.random.default_rng(item_seed("kid subsets"))
    mean, sd = mmd2_subsets(sets.train, sets.synthetic, poly, subsets=cfg.kid_subsets, size=size, rng=rng)
    more = {"subsets": {"mean": mean, "sd": sd, "subsets": cfg.kid_subsets, "size": size}}
    return distance_entry(definition, lambda a, b: mmd2_u(a, b, poly)[0], sets, facts, note=note, se=se, more=more)


def held_out_entry(definition: str, sets: Sets, facts: Mapping[str, object], note: str = "") -> dict[str, object]:
    """Return the row of the unbiased kernel distance to held-out real images; its floor is that of training images."""
    if len(sets.holdout) < MIN_IMAGES:
        reason = f"needs {MIN_IMAGES} held-out real images, got {len(sets.holdout)}"
        return entry(None, definition, reason=reason, note=note, **facts)
    value, se = mmd2_u(sets.holdout, sets.synthetic, poly)
    floor = mmd2_u(sets.holdout, sets.train, poly)[0]
    facts = {**facts, "n_real": facts["n_floor"], "n_floor": facts["n_real"]}
    return entry(value, definition, se=se, floor=floor, note=note, **facts)


def prdc_entries(prefix: str, sets: Sets, cfg: ScoresConfig, facts: Mapping[str, object], note: str) -> Entries:
    """Return the rows of precision, recall, density and coverage, at equal numbers of real and synthetic images."""
    fewest, held_out = min(len(sets.train), len(sets.synthetic)), len(sets.holdout)
    n = min(fewest, held_out) if held_out > cfg.neighbours else fewest  # the floor is read at the same number
    scores, floor = (_prdc(sets, Sets._fields.index(name), cfg.neighbours, n) for name in ("synthetic", "holdout"))
    return {
        f"{prefix}{name}": entry(
            getattr(scores, name),
            f"{text} k = {cfg.neighbours}, {n} images of each set, drawn at random.",
            floor=getattr(floor, name),
            reason=scores.reason,
            note=note,
            **facts,
        )
        for name, text in PRDC_TEXT.items()
    }


def _prdc(sets: Sets, other: int, k: int, n: int) -> Prdc:
    rng = np.random.default_rng(item_seed("prdc", other))
    real, theirs = equal_counts(len(sets.train), len(sets[other]), rng, n)
    return prdc(sets.train[real], sets[other][theirs], k)
