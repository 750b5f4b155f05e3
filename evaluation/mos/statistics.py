"""Statistics of judgements: bool arrays (raters, images), True where a rater took the image for real."""

import numpy as np

Array = np.ndarray
Interval = tuple[float, float]

DRAWS = 2000  # of the bootstrap


def wilson(judged_real: Array) -> Interval:
    """Return the Wilson score interval, 95 %, of the share of True; it takes all judgements to be independent."""
    from scipy.stats import binomtest

    found = binomtest(int(judged_real.sum()), judged_real.size).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def cluster_bootstrap(values: Array, rng: np.random.Generator, draws: int = DRAWS) -> Interval:
    """Return the 95 % percentile interval of the mean of (raters, images) where both are resampled (Owen 2007).

    One rater cannot be resampled: then only images vary, and the interval says nothing about other raters.
    """
    raters, images = values.shape
    by_rater = rng.multinomial(raters, np.full(raters, 1 / raters), draws)  # how often each is drawn
    by_image = rng.multinomial(images, np.full(images, 1 / images), draws)
    sums = ((by_rater @ values.astype(np.float64)) * by_image).sum(1)
    low, high = np.quantile(sums / values.size, [0.025, 0.975])
    return float(low), float(high)


def balanced_accuracy(real: Array, synthetic: Array) -> float:
    """Return the mean share of right answers over the two classes, 0-1; 0.5 is what one answer for all images gets."""
    return float((real.mean() + 1 - synthetic.mean()) / 2)


def d_prime(real: Array, synthetic: Array) -> float:
    """Return z(share of real judged real) - z(share of synthetic judged real); 0 for a rater who cannot tell.

    Shares are (k + 1/2) / (n + 1), so that none is 0 or 1 (log-linear rule, Hautus 1995).
    """
    from scipy.stats import norm

    shares = [(judged.sum() + 0.5) / (judged.size + 1) for judged in (real, synthetic)]
    return float(norm.ppf(shares[0]) - norm.ppf(shares[1]))


def fleiss_kappa(counts: Array) -> float | None:
    """Return Fleiss' kappa of (images, categories) counts of raters, or None where all raters always said the same.

    (P - Pe) / (1 - Pe), P the mean share of pairs of raters that agree, Pe that share by chance (Fleiss 1971).
    """
    raters = int(counts[0].sum())
    agreeing = ((counts * (counts - 1)).sum(1) / (raters * (raters - 1))).mean()
    by_chance = ((counts.sum(0) / counts.sum()) ** 2).sum()
    return None if np.isclose(by_chance, 1) else float((agreeing - by_chance) / (1 - by_chance))


def mcnemar(first: Array, second: Array) -> tuple[float, int, int]:
    """Return the exact two-sided p-value of McNemar's test on paired judgements, and both discordant counts.

    They are (judged real only in `first`, only in `second`); p is 1 where there are none.
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    discordant = only_first + only_second
    return (float(binomtest(only_first, discordant).pvalue) if discordant else 1.0), only_first, only_second
