"""Copy audit: which synthetic images are training images, moved, cropped, turned, mirrored, blurred, recoloured, noisy.

Scores that compare distributions reward a generator that has learnt its training set by heart; this does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.audit.nearest import blocks, comparable, distances, squared_distances

SMALLEST_HOLDOUT = 20
TENTH = 10
DEFINITION = (
    "Share of synthetic images that lie as near to their nearest training image as only the nearest `quantile` of "
    "held-out real images do. Distance to an image: root mean square difference of 16x16 tiles, each colour channel "
    "standardised, minimum over the 8 flips and quarter turns and over windows moved and cropped by up to 5 %. It is "
    "divided by the distance within which a tenth of the training images lie, since an image without detail is near "
    "to all of them."
)
CLOSER = (
    "Chance that a synthetic image is nearer to its nearest training image than to its nearest held-out real one, when "
    "of the larger set only as many are drawn as the smaller one holds; 0.5 without memorisation. Exact copies reach "
    "`closer_of_copies`, since with few held-out images most originals are not drawn."
)
SELF_RETRIEVAL = "Share of synthetic images whose nearest training image is the one that their mask comes from."


@dataclass(frozen=True)
class CopyAudit:
    """What was found of N synthetic images. Where `flagged` is None, `reason` says why; `note` is for the reader."""

    distance: np.ndarray  # float64 (N,), to the nearest training image, see DEFINITION; 0 for an exact copy
    nearest: np.ndarray  # int64 (N,), its place in the training set
    nearest_is_parent: np.ndarray  # bool (N,)
    flagged: np.ndarray | None  # bool (N,), taken for copies
    threshold: float | None  # a distance of at most this is a copy
    expected_rate: float | None  # flagged share of fresh real images, 0-1
    closer: np.ndarray  # float64 (N,), the chance of CLOSER for each image
    self_retrieval: float | None  # see SELF_RETRIEVAL; None when no image has its parent in the training set
    n_train: int
    n_holdout: int
    reason: str | None
    note: str | None

    @property
    def closer_to_train(self) -> float:
        """Return the mean of `closer`; without memorisation it is 0.5."""
        return float(self.closer.mean())

    @property
    def closer_of_copies(self) -> float:
        """Return about what `closer_to_train` would be if every synthetic image were a copy, 0.5-1."""
        return 0.5 + 0.5 * min(1.0, self.n_holdout / self.n_train)

    @property
    def copy_rate(self) -> float | None:
        """Return the share of synthetic images that are copies, 0-1."""
        return None if self.flagged is None else float(self.flagged.mean())

    @property
    def copy_rate_parent(self) -> float | None:
        """Return the share that are copies of the training image that their own mask comes from."""
        return None if self.flagged is None else float((self.flagged & self.nearest_is_parent).mean())

    @property
    def copy_rate_other(self) -> float | None:
        """Return the share that are copies of another training image than the one that their mask comes from."""
        return None if self.flagged is None else float((self.flagged & ~self.nearest_is_parent).mean())


def audit(
    train: np.ndarray,
    holdout: np.ndarray,
    synthetic: np.ndarray,
    *,
    train_ids: Sequence[str],
    parents: Sequence[str],
    quantile: float = 0.01,
) -> CopyAudit:
    """Return the audit of three sets of `thumbnails` (N, 32, 32, 3), or of embeddings (N, d) such as CLIP's.

    The distance of embeddings is that of unit vectors, sqrt(2 - 2 cos), divided as in DEFINITION. `holdout` are real
    images of the same source that the generator was not trained on: they say how near to a training image a fresh one
    comes. `parents` names for each synthetic image the training image that its mask comes from; `quantile` of fresh
    images may be flagged.
    """
    train, holdout, synthetic = map(comparable, (train, holdout, synthetic))
    calibration, _ = to_nearest(holdout, train)
    found = []
    for views in blocks(synthetic):
        ours, theirs = squared_distances(views, train), squared_distances(views, holdout)
        found.append((*_to_nearest(views, train, ours), chance_of_closer(ours, theirs)))
    distance, nearest, closer = (np.concatenate(column) for column in zip(*found, strict=True))
    threshold, expected, reason, note = _calibrate(calibration, quantile)
    if len(train) < 2:
        threshold, expected, reason, note = None, None, "one training image says nothing of what is usual", None
    is_parent = np.array([train_ids[i] == parent for i, parent in zip(nearest, parents, strict=True)], bool)
    known = set(train_ids) & set(parents)
    return CopyAudit(
        distance,
        nearest,
        is_parent,
        None if threshold is None else distance <= threshold,
        threshold,
        expected,
        closer,
        float(is_parent.mean()) if known else None,
        len(train),
        len(holdout),
        reason,
        note,
    )


def to_nearest(images: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each of N images to its nearest of M training images, as in DEFINITION, and its place.

    Both are thumbnails, (N, 32, 32, 3) and (M, 32, 32, 3), or what `comparable` makes of embeddings.
    """
    found = [_to_nearest(views, train, squared_distances(views, train)) for views in blocks(images)]
    distance, nearest = (np.concatenate(column) for column in zip(*found, strict=True))
    return distance, nearest


def _to_nearest(views: np.ndarray, train: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each query to its nearest training image, as in DEFINITION, and that image's place."""
    nearest = squared.argmin(1)
    place = min(max(1, len(train) // TENTH), len(train) - 1)
    usual = np.sqrt(np.partition(squared, place, axis=1)[:, place].astype(np.float64))
    return distances(views, train[nearest]) / np.maximum(usual, 1e-12), nearest


def _calibrate(distances: np.ndarray, quantile: float) -> tuple[float | None, float | None, str | None, str | None]:
    """Return threshold, expected rate of false alarms, reason and note, from held-out real -> train distances.

    A fresh image is as likely to take any place among n held-out ones, so it is at most as far as the k-th nearest
    with the chance k / (n + 1); an interpolated quantile has no such guarantee.
    """
    n = len(distances)
    if n < SMALLEST_HOLDOUT:
        return None, None, f"{n} held-out real images say too little, {SMALLEST_HOLDOUT} are needed", None
    place = max(1, int(quantile * (n + 1) + 1e-9))
    expected = place / (n + 1)
    note = None
    if expected > quantile:
        note = (
            f"{n} held-out real images cannot give a {quantile:g} quantile: the threshold is the nearest of them, and "
            f"{expected:.3f} of fresh images are expected to be flagged"
        )
    return float(np.sort(distances)[place - 1]), expected, None, note


def chance_of_closer(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the chance of CLOSER for each of N images, (N,), by distances to train (N, M) and to held-out (N, K).

    It is exact, over all ways to draw a subset, so no seed is needed.
    """
    from scipy.stats import hypergeom

    n_train, n_holdout = ours.shape[1], theirs.shape[1]
    drawn = min(n_train, n_holdout)
    if n_train > drawn:  # at least one of the training images that are nearer is drawn
        return hypergeom.sf(0, n_train, (ours < theirs.min(1, keepdims=True)).sum(1), drawn)
    return hypergeom.pmf(0, n_holdout, (theirs <= ours.min(1, keepdims=True)).sum(1), drawn)
