"""Intervals hold what they promise where the truth is known: crossed effects of images and seeds, drawn here."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from evaluation.results.crossed_bootstrap import compare, holm

STRATA = np.repeat([0, 1], [20, 40])
REPLICATES, DRAWS = 600, 2000


def scores(rng, settings, seeds, *, seed_sd, image_sd, rest_sd, heavy=False):
    """Return (settings, seeds, images) scores without an effect of the setting, and what a setting adds at random.

    The images' difficulty, 0.3, is shared by all settings; how a setting fares on an image, how a seed turns out and
    the remainder are its own. Test sets differ in mean. Heavy: one image in ten moves, by far, as where a lesion is
    found or not.
    """
    n = len(STRATA)
    fares = rng.normal(0, image_sd, (settings, 1, n))
    if heavy:
        fares = (rng.random((settings, 1, n)) < 0.1) * rng.choice([-1, 1], (settings, 1, n)) * image_sd * np.sqrt(10)
    difficulty = rng.normal(0, 0.3, n) + 0.2 * STRATA
    luck = rng.normal(0, seed_sd, (settings, seeds, 1))
    return difficulty + fares + luck + rng.normal(0, rest_sd, (settings, seeds, n))


def estimates(seeds, effect, number=REPLICATES, **spread):
    """Return estimates of a known effect from independent data sets."""
    rng = np.random.default_rng(seeds)
    pairs = [scores(rng, 2, seeds, **spread) for _ in range(number)]
    return compare([effect + a - b for a, b in pairs], STRATA, rng, DRAWS)


SPREADS = {
    "images": {"seed_sd": 0.0, "image_sd": 0.15, "rest_sd": 0.05},
    "both": {"seed_sd": 0.01, "image_sd": 0.1, "rest_sd": 0.1},
    "seeds": {"seed_sd": 0.05, "image_sd": 0.05, "rest_sd": 0.1},
    "remainder": {"seed_sd": 0.0, "image_sd": 0.01, "rest_sd": 0.2},
    "heavy": {"seed_sd": 0.01, "image_sd": 0.1, "rest_sd": 0.05, "heavy": True},
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_a_known_effect_about_95_times_in_100(seeds, spread):
    found = estimates(seeds, 0.04, **SPREADS[spread])
    covered = np.mean([one.low <= 0.04 <= one.high for one in found])
    assert 0.92 <= covered <= 0.985  # the standard error of 600 replicates is 0.009
    assert np.mean([one.mean for one in found]) == pytest.approx(0.04, abs=0.01)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("seeds", [3, 5])
def test_without_an_effect_p_is_below_5_percent_at_most_5_times_in_100(seeds, spread):
    p = np.array([one.p for one in estimates(seeds, 0.0, **SPREADS[spread])])
    assert 0.01 <= np.mean(p < 0.05) <= 0.075
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.12)


def test_two_seeds_are_wide_but_hold():
    for spread in SPREADS.values():
        assert np.mean([one.low <= 0.04 <= one.high for one in estimates(2, 0.04, **spread)]) >= 0.93


def test_one_seed_holds_for_these_two_networks_and_not_for_other_seeds():
    rng = np.random.default_rng(0)
    within, beyond = [], []
    for _ in range(REPLICATES):
        a, b = scores(rng, 2, 1, seed_sd=0.0, image_sd=0.1, rest_sd=0.1)
        luck = rng.normal(0, 0.05)
        (one,) = compare([luck + a - b], STRATA, rng, 500)
        within.append(one.low <= luck <= one.high)
        beyond.append(one.low <= 0 <= one.high)
    assert 0.92 <= np.mean(within) <= 0.98
    assert np.mean(beyond) < 0.7


def test_drawing_three_seeds_again_would_miss_more_often():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(150):
        a, b = scores(rng, 2, 3, **SPREADS["seeds"])
        seeds = rng.multinomial(3, [1 / 3] * 3, DRAWS) / 3
        images = rng.multinomial(len(STRATA), np.full(len(STRATA), 1 / len(STRATA)), DRAWS) / len(STRATA)
        low, high = np.quantile(((seeds @ (a - b)) * images).sum(1), [0.025, 0.975])
        covered.append(low <= 0 <= high)
    assert np.mean(covered) < 0.9


@pytest.mark.parametrize("seeds", [3, 5])
def test_after_holm_a_family_without_effects_has_a_finding_at_most_5_times_in_100(seeds):
    rng = np.random.default_rng(seeds)
    families = [scores(rng, 7, seeds, **SPREADS["both"]) for _ in range(300)]
    found = compare([one - family[0] for family in families for one in family[1:]], STRATA, rng, DRAWS)
    p = np.array([one.p for one in found]).reshape(300, 6)
    assert np.mean([min(holm(row)) < 0.05 for row in p]) <= 0.07
    assert np.mean(p.min(1) < 0.05) > 0.07  # what the correction is for


TRAININGS = {  # standard deviations of generators, of seeds, of what is between them, of images
    "generators": (0.05, 0.0, 0.0, 0.05),
    "seeds": (0.0, 0.05, 0.0, 0.05),
    "between": (0.0, 0.0, 0.05, 0.05),
    "all": (0.02, 0.02, 0.02, 0.1),
}


@pytest.mark.heavy
@pytest.mark.parametrize("spread", TRAININGS)
def test_three_trainings_of_a_generator_hold_a_known_effect(spread):
    """One of them would miss it far more often where trainings differ."""
    rng, (generator_sd, seed_sd, between_sd, image_sd) = np.random.default_rng(0), TRAININGS[spread]
    n = len(STRATA)

    def drawn() -> np.ndarray:
        crossed = rng.normal(0, generator_sd, (3, 1, 1)) + rng.normal(0, seed_sd, (1, 3, 1))
        crossed = crossed + rng.normal(0, between_sd, (3, 3, 1)) + rng.normal(0, 0.1, (3, 3, n))
        return 0.04 + crossed + rng.normal(0, image_sd, n) + rng.normal(0, image_sd / 2, (3, 1, n))

    differences = [drawn() for _ in range(300)]
    found = compare(differences, STRATA, rng, 500)
    assert {(one.generators, one.seeds, one.images) for one in found} == {(3, 3, n)}
    assert np.mean([one.low <= 0.04 <= one.high for one in found]) >= 0.92
    if spread == "generators":
        alone = compare([one[0] for one in differences], STRATA, rng, 500)
        assert np.mean([one.low <= 0.04 <= one.high for one in alone]) < 0.75


def test_generators_alone_are_students_t_where_seeds_and_images_are_alike():
    moves = np.array([0.01, 0.03, 0.08])
    (one,) = compare([np.tile(moves[:, None, None], (1, 4, 60))], STRATA, np.random.default_rng(0))
    exact = ttest_1samp(moves, 0)
    assert (one.low, one.high) == pytest.approx(tuple(exact.confidence_interval(0.95)), rel=0.01)
    assert one.p == pytest.approx(exact.pvalue, rel=0.02)


def test_an_effect_that_is_there_is_found():
    for effect in (0.15, -0.15):
        found = estimates(5, effect, number=100, **SPREADS["both"])
        assert np.mean([one.p < 0.05 for one in found]) > 0.95


def test_the_seeds_part_is_students_t_where_images_are_alike():
    moves = np.array([0.01, 0.03, 0.08])
    (one,) = compare([np.tile(moves[:, None], (1, 60))], STRATA, np.random.default_rng(0))
    exact = ttest_1samp(moves, 0)
    assert (one.low, one.high) == pytest.approx(tuple(exact.confidence_interval(0.95)), rel=0.01)
    assert one.p == pytest.approx(exact.pvalue, rel=0.02)


def test_the_images_part_is_students_t_where_seeds_are_alike():
    half = np.random.default_rng(1).normal(0, 0.1, 12)
    values = 0.03 + np.concatenate([half, -half])
    (one,) = compare([np.tile(values, (3, 1))], np.zeros(24, int), np.random.default_rng(0), 40_000)
    exact = ttest_1samp(values, 0)
    assert (one.low, one.high) == pytest.approx(tuple(exact.confidence_interval(0.95)), abs=0.003)
    assert one.p == pytest.approx(exact.pvalue, rel=0.1)


def test_differences_between_test_sets_are_no_spread():
    (one,) = compare([np.tile(0.3 * STRATA, (3, 1)).astype(float)], STRATA, np.random.default_rng(0))
    assert (one.low, one.high) == pytest.approx((0.2, 0.2))
    assert (one.mean, one.seeds, one.images) == (pytest.approx(0.2), 3, 60)


def test_an_estimate_is_the_same_in_any_company_and_mirrored_when_sides_are_swapped():
    a, b, c = scores(np.random.default_rng(0), 3, 3, **SPREADS["both"])
    alone = compare([a - b], STRATA, np.random.default_rng(5))[0]
    among = compare([c - b, a - b, c - a], STRATA, np.random.default_rng(5))[1]
    assert vars(among) == pytest.approx(vars(alone))
    swapped = compare([b - a], STRATA, np.random.default_rng(5))[0]
    assert swapped.mean == -alone.mean
    assert (swapped.low, swapped.high) == pytest.approx((-alone.high, -alone.low), abs=0.01)


def test_nothing_differs():
    (one,) = compare([np.zeros((3, 60))], STRATA, np.random.default_rng(0))
    assert (one.mean, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_a_test_set_of_one_image_is_refused():
    with pytest.raises(ValueError, match="fewer than two images"):
        compare([np.zeros((3, 3))], np.array([0, 0, 1]), np.random.default_rng(0))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
