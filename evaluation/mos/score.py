"""Scores of a deck from the answers of its raters: how often synthetic images pass, and whether raters can tell at all.

The paper prints a mean opinion score of 0.233 to 0.587 for three clinicians and a confidence. The numbers fit the share
of synthetic images that were judged real among 3 x 50 answers, which is what `mos` is here (docs/mos.md).
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from evaluation.mos.deck import REAL
from evaluation.mos.ratings import Key, Ratings
from evaluation.scores.record import entry, spread

MOS = "Share of synthetic images that were judged real, over raters and images, 0-1."
CONTROLS = "Share of real images that were judged real, over raters and images, 0-1."
CONFIDENCE = "Mean of how sure raters were, over raters and images, 0 (a guess) to 10 (certain)."
BALANCED = "Mean of the shares of right answers on real and on synthetic images, 0-1; 0.5 by chance."
D_PRIME = "z(real judged real) - z(synthetic judged real), shares (k + 1/2) / (n + 1); 0 where raters cannot tell."
KAPPA = "Fleiss' kappa of real or synthetic over all images: 1 all raters agree, 0 they agree as by chance."
MCNEMAR = "Exact two-sided p of McNemar's test: is one set judged real more often on the same masks?"
INTERVALS = "wilson_95 takes all answers to be independent; bootstrap_95, which resamples raters and images, does not."
ONE_RATER = "With one rater bootstrap_95 resamples images only and says nothing about other raters."
PAIRED = "The test takes all answers to be independent; difference_95, which resamples raters and masks, does not."

Array = np.ndarray  # of judgements: bool (raters, images), True where a rater took the image for real
Entry = dict[str, object]
Measured = tuple[float | None, dict[str, object]]  # a value, and what is told beside it
Measure = Callable[..., Measured]


def wilson(judged_real: Array) -> tuple[float, float]:
    """Return the Wilson score interval, 95 %, of the share of True; it takes all judgements to be independent."""
    from scipy.stats import binomtest

    interval = binomtest(int(judged_real.sum()), judged_real.size).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def cluster_bootstrap(values: Array, rng: np.random.Generator, draws: int = 2000) -> tuple[float, float]:
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


def _share(judged_real: Array, rng: np.random.Generator) -> Measured:
    return float(judged_real.mean()), {
        "wilson_95": wilson(judged_real),
        "bootstrap_95": cluster_bootstrap(judged_real, rng),
        "by_rater": judged_real.mean(1).tolist(),
    }


def _confidence(confidence: Array) -> Measured:
    means = confidence.mean(1).tolist()
    return float(confidence.mean()), {"by_rater": means, "sd_of_raters": spread(means)}


def _by_rater(measure: Callable[[Array, Array], float], real: Array, synthetic: Array) -> Measured:
    """Return a measure of all raters' answers together, with that of each rater."""
    return measure(real, synthetic), {"by_rater": [measure(*one) for one in zip(real, synthetic, strict=True)]}


def _kappa(judged_real: Array) -> Measured:
    if len(judged_real) < 2:
        return None, {"reason": "needs two raters"}
    value = fleiss_kappa(np.stack([judged_real.sum(0), (~judged_real).sum(0)], axis=1))
    return value, {} if value is not None else {"reason": "all raters gave one answer to all images"}


def _compare(one: Array, other: Array, rng: np.random.Generator) -> Measured:
    """Compare the judgements of two sets, bool (R, M) of images of the same M masks."""
    if not one.size:
        return None, {"reason": "the sets share no mask"}
    value, only_first, only_second = mcnemar(one, other)
    difference = one.astype(float) - other
    return value, {
        "judged_real_only": [only_first, only_second],
        "difference": float(difference.mean()),
        "difference_95": cluster_bootstrap(difference, rng),
    }


def score(key: Key, ratings: Ratings, rng: np.random.Generator) -> dict[str, Any]:
    """Return entries for JSON: `sets` for each synthetic set, `controls`, `all` images, `comparisons` of two sets.

    Raters stand in `by_rater` in the order of their files, without names: results are published, names are not.
    """
    cards = key.rated()
    where = {name: np.array([card.set == name for card in cards]) for name in sorted({card.set for card in cards})}
    controls = where.pop(REAL)
    raters = len(ratings.real)
    note = f"{INTERVALS} {ONE_RATER}" if raters == 1 else INTERVALS

    def row(definition: str, rated: Array, measure: Measure, *answers: Any, note: str | None = None) -> Entry:
        """Return an entry of what `measure` gives for answers to the images of bool (N,) `rated`, null without any."""
        n_real, n_synthetic = int((rated & controls).sum()), int((rated & ~controls).sum())
        value, more = measure(*answers) if raters else (None, {"reason": f"no rater file in {ratings.folder}"})
        more = {"n_raters": raters, "n_images": n_real + n_synthetic, **more}
        return entry(value, definition, n_real=n_real, n_synthetic=n_synthetic, note=note, more=more)

    def rates(definition: str, rated: Array) -> tuple[Entry, Entry]:
        judged_real = row(definition, rated, _share, ratings.real[:, rated], rng, note=note)
        return judged_real, row(CONFIDENCE, rated, _confidence, ratings.confidence[:, rated])

    def told_apart(synthetic: Array) -> dict[str, Entry]:
        rated, answers = controls | synthetic, (ratings.real[:, controls], ratings.real[:, synthetic])
        return {
            "balanced_accuracy": row(BALANCED, rated, _by_rater, balanced_accuracy, *answers),
            "d_prime": row(D_PRIME, rated, _by_rater, d_prime, *answers),
        }

    sets = {}
    for name, rated in where.items():
        mos, confidence = rates(MOS, rated)
        sets[name] = {"mos": mos, "mos_confidence": confidence, **told_apart(rated)}
    places: dict[str, dict[tuple[str, str], int]] = {}
    for n, card in enumerate(cards):
        places.setdefault(card.set, {})[card.id, card.mask_sha256] = n
    comparisons = []
    for first, second in combinations(where, 2):
        pairs = [(n, places[second][mask]) for mask, n in places[first].items() if mask in places[second]]
        one, other = np.array(pairs, int).reshape(-1, 2).T
        rated = np.isin(np.arange(len(cards)), pairs)
        test = row(MCNEMAR, rated, _compare, ratings.real[:, one], ratings.real[:, other], rng, note=PAIRED)
        comparisons.append({"first": first, "second": second, "mcnemar": test})
    judged_real, confidence = rates(CONTROLS, controls)
    everything = row(KAPPA, np.ones_like(controls), _kappa, ratings.real)
    return {
        "deck": key.deck,
        "n_raters": raters,
        "asked": key.facts["asked"],
        "sets": sets,
        "controls": {"judged_real": judged_real, "confidence": confidence},
        "all": {**told_apart(~controls), "fleiss_kappa": everything},
        "comparisons": comparisons,
    }


def as_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return a line for each set, the mean opinion score with its confidence in brackets as the paper prints it."""
    lines = [f"{scores['n_raters']} raters, {scores['asked']['raters']} were planned"]
    for name, rows in scores["sets"].items():
        mos = rows["mos"]
        if mos["value"] is None:
            lines.append(f"{name}: no score, {mos['reason']}")
        else:
            low, high = mos["bootstrap_95"]
            confidence, told = rows["mos_confidence"]["value"], rows["d_prime"]["value"]
            lines.append(f"{name}: {mos['value']:.3f} ({confidence:.2f}), 95 % {low:.3f} to {high:.3f}, d' {told:.2f}")
    controls = scores["controls"]["judged_real"]["value"]
    return lines if controls is None else [*lines, f"real controls judged real: {controls:.3f}"]
