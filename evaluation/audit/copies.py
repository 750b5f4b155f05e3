"""Copy audit: which synthetic images are training images, turned, mirrored, blurred, recoloured or with noise on them.

Scores that compare distributions reward a generator that has learnt its training set by heart; this does not. Copies
that are moved or cropped by 5 % escape the flag (benchmarks/copy_audit.py), but not self-retrieval.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 16
BLOCK = 64
SMALLEST_SD = 1.0  # grey levels; less is no content, and must not be blown up to be compared
SMALLEST_HOLDOUT = 20
DEFINITION = (
    "Share of synthetic images that lie as near to their nearest training image as only the nearest `quantile` of "
    "held-out real images do. Distance: root mean square difference of 16x16 thumbnails, each colour channel "
    "standardised, minimum over the 8 flips and quarter turns."
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

    distance: np.ndarray  # float64 (N,), to the nearest training image
    nearest: np.ndarray  # int64 (N,), its place in the training set
    nearest_is_parent: np.ndarray  # bool (N,)
    flagged: np.ndarray | None  # bool (N,), taken for copies
    threshold: float | None  # a distance of at most this is a copy
    expected_rate: float | None  # flagged share of fresh real images, 0-1
    closer_to_train: float  # see CLOSER; its value without memorisation is 0.5
    self_retrieval: float | None  # see SELF_RETRIEVAL; None when no image has its parent in the training set
    n_train: int
    n_holdout: int
    reason: str | None
    note: str | None

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


def thumbnails(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return float32 (N, 16, 16, 3) of N uint8 (H, W, 3): means over areas, each channel of zero mean and unit sd.

    Images of any size are stretched to the square. Standardising each channel makes a copy in other colours or another
    exposure the same thumbnail. An image of one colour becomes zeros, which are no nearer to any picture than pictures
    are to each other.
    """
    import cv2

    floats = (image.astype(np.float32) for image in images)
    small = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in floats])
    small -= small.mean((1, 2), keepdims=True)
    return small / np.maximum(small.std((1, 2), keepdims=True), SMALLEST_SD)


def symmetries(images: np.ndarray) -> list[np.ndarray]:
    """Return the 8 flips and quarter turns of (N, H, H, ...), the images as they are first."""
    return [np.rot90(turned, turns, (1, 2)) for turned in (images, images[:, :, ::-1]) for turns in range(4)]


def audit(
    train: np.ndarray,
    holdout: np.ndarray,
    synthetic: np.ndarray,
    *,
    train_ids: Sequence[str],
    parents: Sequence[str],
    quantile: float = 0.01,
) -> CopyAudit:
    """Return the audit of three sets of `thumbnails` (N, 16, 16, 3), or of embeddings (N, d) such as CLIP's.

    The distance of embeddings is that of unit vectors, sqrt(2 - 2 cos). `holdout` are real images of the same source
    that the generator was not trained on: they say how near to a training image a fresh one comes. `parents` names for
    each synthetic image the training image that its mask comes from; `quantile` of fresh images may be flagged.
    """
    train, holdout, synthetic = map(_comparable, (train, holdout, synthetic))
    train = train.reshape(len(train), -1).astype(np.float64)
    calibration, _ = _nearest(holdout, train)
    distance, nearest = _nearest(synthetic, train)
    threshold, expected, reason, note = _calibrate(calibration, quantile)
    is_parent = np.array([train_ids[i] == parent for i, parent in zip(nearest, parents, strict=True)], bool)
    known = set(train_ids) & set(parents)
    return CopyAudit(
        distance,
        nearest,
        is_parent,
        None if threshold is None else distance <= threshold,
        threshold,
        expected,
        closer_to_train(train, holdout, synthetic),
        float(is_parent.mean()) if known else None,
        len(train),
        len(holdout),
        reason,
        note,
    )


def _comparable(images: np.ndarray) -> np.ndarray:
    """Return thumbnails so that their distance is a root mean square difference, embeddings as unit vectors."""
    if images.ndim > 2:
        return images / math.prod(images.shape[1:]) ** 0.5
    return images / np.maximum(np.linalg.norm(images, axis=1, keepdims=True), 1e-12)


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


def _blocks(queries: np.ndarray) -> Iterator[np.ndarray]:
    """Yield float64 (views, B, d), block by block: the symmetries of thumbnails, and vectors as they are."""
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK].astype(np.float64)
        views = symmetries(block) if block.ndim > 2 else [block]
        yield np.stack([view.reshape(len(block), -1) for view in views])


def _squared(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return squared distances (B, M) of the nearest view of queries (views, B, d) to points (M, d)."""
    length = (points**2).sum(1)
    found = [(view**2).sum(1)[:, None] + length - 2 * view @ points.T for view in queries]
    return np.minimum.reduce(found)


def _nearest(queries: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each query to the nearest of points (M, d), and the index of that point, (N,) each."""
    distances, places = [], []
    for block in _blocks(queries):
        place = _squared(block, points).argmin(1)
        # from the differences, since an exact copy must come out as exactly 0
        distances.append(np.linalg.norm(block - points[place], axis=2).min(0))
        places.append(place)
    return np.concatenate(distances), np.concatenate(places)


def closer_to_train(train: np.ndarray, holdout: np.ndarray, synthetic: np.ndarray) -> float:
    """Return the chance of CLOSER. It is exact, over all ways to draw a subset, so no seed is needed."""
    from scipy.stats import hypergeom

    drawn = min(len(train), len(holdout))
    holdout = holdout.reshape(len(holdout), -1).astype(np.float64)
    chances = []
    for block in _blocks(synthetic):
        ours, theirs = _squared(block, train), _squared(block, holdout)
        if len(train) > drawn:  # at least one of the training images that are nearer is drawn
            nearer = (ours < theirs.min(1, keepdims=True)).sum(1)
            chances.append(hypergeom.sf(0, len(train), nearer, drawn))
        else:
            nearer = (theirs <= ours.min(1, keepdims=True)).sum(1)
            chances.append(hypergeom.pmf(0, len(holdout), nearer, drawn))
    return float(np.concatenate(chances).mean())
