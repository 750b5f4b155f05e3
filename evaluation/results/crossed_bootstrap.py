"""Is the difference of two settings real: intervals and p values over test images and seeds of training.

A score of seed s on image i, setting A minus setting B, is taken as

    d[s, i] = mu + a_s + b_i + e_si

with the seed's effect a_s, the image's b_i and what is left, e_si; mu is asked for. Seeds and images are crossed: each
seed is tested on the same images. No bootstrap is exact here (McCullagh 2000), and one that draws seeds again misses mu
too often when there are few: of three seeds it draws the same one three times in a ninth of its draws. So the two parts
come from what suits each, and are added draw by draw:

- images: a bootstrap of the images within their test set, of b alone (what e adds to the means of images is taken out);
- seeds: mean d of each seed minus mu minus mean b is a_s + mean e_s, independent and alike for all seeds, so that their
  mean over its standard error follows Student's t with S - 1 degrees of freedom where these effects are normal.

Where a generator was trained with several seeds g, each of its sets is met by each seed s of the segmenter: g and s are
crossed, because segmenters of one seed start from the same weights and meet the same run with real pairs alone. Then

    d[g, s, i] = mu + c_g + a_s + b_i + e_gsi

and the means of each g, over all s, are a third part like that of the seeds, with G - 1 degrees of freedom. What is
left between g and s is in this part, and taken out of that of the seeds.

A sum of draws of this kind is the solution of Behrens (1929) and Fisher (1935), known to err on the side of too wide
intervals (Robinson 1976). docs/evaluation.md has the coverage that was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Array = np.ndarray

DRAWS = 10_000
CHUNK = 500  # draws at a time: bounds the memory of many images
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A difference of means with its 95 % interval and two-sided p value, in the units of the score.

    With one seed interval and p are over images only: they say nothing about another training run. With one generator
    they say nothing about another training of it.
    """

    mean: float
    low: float
    high: float
    p: float
    seeds: int
    images: int
    generators: int = 1


def compare(
    differences: Sequence[Array], strata: Array, rng: np.random.Generator, draws: int = DRAWS
) -> list[Estimate]:
    """Return one estimate for each (seeds, images) or (generators, seeds, images) array of differences.

    All are of the same images. `strata` (images,) says in integers which test set an image is of. The mean is over all
    images, so test sets count by their images. An estimate does not depend on which others are asked for with it.

    p is twice the smaller share of draws on one side of zero, and never less than 2 / (draws + 1).

    Raises: ValueError where a test set has fewer than two images, whose spread nobody can know.
    """
    _, strata, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    if sizes.min(initial=2) < 2:
        raise ValueError("a test set has fewer than two images")
    crossed = [one.reshape(-1, *one.shape[-2:]) for one in differences]
    effects = np.stack([_image_effects(one.reshape(-1, len(strata)), strata) for one in crossed], axis=1)
    images = _image_draws(effects, strata, sizes, rng, draws)
    orders = rng.permutation(draws), rng.permutation(draws)  # of seeds, of generators
    estimates = []
    for one, deviations in zip(crossed, images.T, strict=True):
        for count, error, order in zip(one.shape[1::-1], _errors(one.mean(2)), orders, strict=True):
            if count > 1:
                deviations = deviations + error * _student(count - 1, draws)[order]
        values = one.mean() + deviations
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        side = min((values <= 0).sum(), (values >= 0).sum())
        p = min(1.0, 2 * (side + 1) / (draws + 1))
        generators, seeds, number = one.shape
        estimates.append(Estimate(float(one.mean()), float(low), float(high), float(p), seeds, number, generators))
    return estimates


def _errors(means: Array) -> tuple[float, float]:
    """Return the standard errors of the grand mean of (generators, seeds) means from seeds and from generators.

    What is left between the two is in the means of generators, so it is taken out of those of seeds, as in
    `_image_effects`; of one seed or one generator there is no error, and 0.
    """
    generators, seeds = means.shape
    by_seed, by_generator = means.mean(0), means.mean(1)
    if generators == 1:
        return (by_seed.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else 0.0), 0.0
    error = by_generator.std(ddof=1) / np.sqrt(generators)
    if seeds == 1:
        return 0.0, error
    rest = means - by_seed - by_generator[:, None] + means.mean()
    remainder = (rest**2).sum() / ((generators - 1) * (seeds - 1))
    return np.sqrt(max(0.0, by_seed.var(ddof=1) - remainder / generators) / seeds), error


def _image_effects(differences: Array, strata: Array) -> Array:
    """Return (images,) means over runs less those of their test set, shrunk to the variance of b.

    With mean squares M_b of images and M_e of the remainder, the means over S runs have variance M_b / S and b has
    (M_b - M_e) / S. With one run b and e cannot be told apart, and both stay.
    """
    members = np.eye(strata.max() + 1)[strata]
    centred = differences - (differences @ members / members.sum(0))[:, strata]
    effects = centred.mean(0)
    seeds = len(differences)
    total = (effects**2).sum()
    if seeds == 1 or not total:
        return effects
    remainder = ((centred - effects) ** 2).sum() / (seeds - 1)
    return effects * np.sqrt(max(0.0, 1 - remainder / (seeds * total)))


def _image_draws(effects: Array, strata: Array, sizes: Array, rng: np.random.Generator, draws: int) -> Array:
    """Return (draws, m): how far the mean of each column of (images, m) moves when images are drawn again.

    A bootstrap of n values has the variance of n - 1 of them and normal tails; sqrt(n / chi2(n - 1)) a draw makes
    the tails Student's, for test sets of a few dozen images.
    """
    n = len(strata)
    places = [np.flatnonzero(strata == k) for k in range(len(sizes))]
    moved = []
    for start in range(0, draws, CHUNK):
        rows = min(CHUNK, draws - start)
        weights = np.zeros((rows, n))
        for place, size in zip(places, sizes, strict=True):
            drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
            weights[:, place] = (counts - 1) * np.sqrt(size / rng.chisquare(size - 1, (rows, 1)))
        moved.append(weights @ effects / n)
    return np.concatenate(moved)


@lru_cache
def _student(degrees: int, draws: int) -> Array:
    """Return `draws` quantiles of Student's t at even steps: tails without the noise that random draws have there."""
    from scipy.stats import t

    return np.asarray(t.ppf((np.arange(draws) + 0.5) / draws, degrees))


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p values, in the given order: each test holds for the family of all of them."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.tolist()
