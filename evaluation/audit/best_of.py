"""Best of k: of several images drawn for each mask the one to train on, so that no pair is lost.

The judge's Dice only says which images are possible. The most faithful one by the judge is the most ordinary one too,
so within a band of Dice the distance to the training images decides.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.pairs.manifest import Pair, PairSet
from data.pretrained import lite0
from evaluation.audit.config import FilterRow
from evaluation.audit.mask_fidelity import Judge, mask_fidelity
from evaluation.audit.nearest import blocks, comparable, squared_distances
from evaluation.features.config import FeaturesConfig
from evaluation.features.images import Images


def choose(fidelity: np.ndarray, distance: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Return int64 (N,), which of k draws to keep for each of N masks, from Dice and distance (k, N).

    Within the band, ends included, the largest distance wins; where no draw lies in it, the Dice nearest to it does. Of
    equal ones the first is kept.
    """
    outside = outside_band(fidelity, band)
    farthest = np.where(outside == 0, distance, -np.inf).argmax(0)
    return np.where((outside == 0).any(0), farthest, outside.argmin(0))


def outside_band(fidelity: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Return how far each value lies outside the band, 0 within it."""
    low, high = band
    return np.maximum(np.maximum(low - fidelity, fidelity - high), 0)


def to_nearest(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return float64 (N,): the distance of each embedding (N, d) to the nearest of (M, d), all as unit vectors, 0-2."""
    train = comparable(train)
    nearest = [squared_distances(views, train).min(1) for views in blocks(comparable(features))]
    return np.sqrt(np.concatenate(nearest))


def best_of(
    draws: Sequence[PairSet], train: PairSet, judge: Judge, row: FilterRow, cfg: FeaturesConfig
) -> tuple[PairSet, dict[str, int | float | None]]:
    """Return the kept pairs, whose paths lead to their draws, and the counts.

    `draws` are sets of the same pairs, each with its own images; the first is what is trained on without a filter.
    Distances are those of EfficientNet-Lite0's pooled features to the training images.

    Raises: UserError without the package of EfficientNet-Lite0, and as `mask_fidelity`.
    """
    from evaluation.features.extractors import extract_features

    images = {str(number): Images(pairs) for number, pairs in enumerate(draws)}
    features = extract_features(lite0.NAME, train, {"train": Images(train), **images}, cfg, {})
    fidelity = np.stack([mask_fidelity(one, judge, batch=cfg.batch).dice for one in images.values()])
    distance = np.stack([to_nearest(features[name]["features"], features["train"]["features"]) for name in images])
    kept = choose(fidelity, -distance if row.prefer == "near" else distance, row.band)
    places = np.arange(len(kept))
    outside = outside_band(fidelity, row.band) > 0
    if count := int(outside[kept, places].sum()):
        sys.stderr.write(
            f"{count} of {len(kept)} masks have no draw with a Dice in {list(row.band)}: the nearest to it is kept\n"
        )
    pairs = [_from_anywhere(draws[number], place) for place, number in enumerate(kept)]
    return PairSet(Path(), tuple(pairs)), {
        "before": len(pairs),
        "kept": len(pairs),
        "dropped": 0,
        "draws": len(draws),
        "changed": int((kept != 0).sum()),
        "outside_band_before": int(outside[0].sum()),
        "outside_band_after": count,
        "mask_fidelity_before": float(fidelity[0].mean()),
        "mask_fidelity_after": float(fidelity[kept, places].mean()),
        "distance_before": float(distance[0].mean()),
        "distance_after": float(distance[kept, places].mean()),
    }


def _from_anywhere(pair_set: PairSet, place: int) -> Pair:
    """Return a row whose paths no longer hang on the folder of its set."""
    pair = pair_set.pairs[place]
    return replace(pair, image=str(pair_set.folder / pair.image), mask=str(pair_set.folder / pair.mask))
