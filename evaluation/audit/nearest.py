"""How far images lie from those of a set: by thumbnails at the best of all flips, turns, windows, or by embeddings."""

from collections.abc import Iterator

import numpy as np

from evaluation.audit.thumbnails import middles, symmetries, windows

BLOCK = 512


def comparable(features: np.ndarray) -> np.ndarray:
    """Return thumbnails (N, 32, 32, 3) as they are, and embeddings (N, d) as unit vectors in float64."""
    if features.ndim > 2:
        return features
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def blocks(queries: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the views of queries, (views, up to BLOCK, d) at a time: 8 of a thumbnail, one of an embedding."""
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        seen = symmetries(middles(block)) if block.ndim > 2 else [block]
        yield np.stack([view.reshape(len(block), -1) for view in seen])


def squared_distances(views: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (B, M), the squared distances of B queries, (views, B, d), to M thumbnails or embeddings."""
    flat = views.reshape(-1, views.shape[2])
    lengths = (flat**2).sum(1)[:, None]
    least = np.full((views.shape[1], len(points)), np.inf, flat.dtype)
    for variant in _variants(points):
        apart = flat @ variant.T
        apart *= -2
        apart += lengths
        apart += (variant**2).sum(1)
        np.minimum(least, apart.reshape(len(views), *least.shape).min(0), out=least)
    return np.maximum(least, 0)


def distances(views: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return float64 (B,), the distance of each query to the one point of the same place; of an exact copy it is 0."""
    apart = [np.linalg.norm((views - variant).astype(np.float64), axis=2).min(0) for variant in _variants(points)]
    return np.minimum.reduce(apart)


def _variants(points: np.ndarray) -> Iterator[np.ndarray]:
    if points.ndim == 2:
        yield points
    else:
        yield from (tiles.reshape(len(points), -1) for tiles in windows(points))
