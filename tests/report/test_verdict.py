"""The verdict never says more than the runs do."""

import pytest

from evaluation.results.comparison import Setting, build_table
from evaluation.results.crossed_bootstrap import Estimate
from evaluation.results.results import Grid, Run, RunKey
from evaluation.results.significance import Comparison
from evaluation.tables.verdict import judge

REAL, TWICE, S1, S2 = (("real", "real", 1), ("duplicate", "real", 1), ("s", "real", 1), ("s", "random", 2))


def verdict_of(values):
    """Return the verdict on {setting: [mDice of seed 0, 1, ...]}; None is a run that has not finished."""
    keys = {(s, i): RunKey("d", "unet", *s, i) for s, column in values.items() for i in range(len(column))}
    runs = [Run(key, {"mDice": values[s][i], "mIoU": 0.5}) for (s, i), key in keys.items() if values[s][i] is not None]
    return judge(build_table("d", runs, [], Grid(tuple(keys.values()))), "unet")


@pytest.mark.parametrize(
    ("values", "tone", "headline"),
    [
        ({REAL: [0.5], TWICE: [0.5], S1: [0.9]}, "open", "No evidence either way: one seed"),
        ({REAL: [0.5] * 2, TWICE: [0.5] * 2, S1: [0.9] * 2}, "open", "too few seeds"),
        ({REAL: [0.5] * 3, TWICE: [0.6] * 3, S1: [0.7, 0.8, 0.9]}, "open", "Higher than both baselines in each of 3"),
        ({REAL: [0.5] * 3, TWICE: [0.6] * 3, S1: [0.55, 0.8, 0.9]}, "open", "Unclear"),
        ({REAL: [0.5] * 3, TWICE: [0.8] * 3, S1: [0.7] * 3}, "open", "Not higher on average than real pairs twice"),
        ({REAL: [0.5] * 3, TWICE: [0.3] * 3, S1: [0.4] * 3}, "open", "Not higher on average than real pairs only"),
        ({REAL: [0.5] * 3, TWICE: [0.4] * 3, S1: [0.5] * 3}, "open", "Not higher on average than real pairs only"),
        ({REAL: [0.5] * 3, S1: [0.9] * 3}, "open", "not compared with real pairs twice"),
        ({REAL: [None] * 3, TWICE: [0.5] * 3, S1: [0.9] * 3}, "open", "Nothing to compare yet"),
        ({REAL: [0.5] * 3, TWICE: [0.5] * 3, S1: [None] * 3}, "open", "Nothing to compare yet"),
        ({REAL: [0.5, None], S1: [None, 0.9]}, "open", "no seed in common"),
    ],
)
def test_headlines(values, tone, headline):
    verdict = verdict_of(values)
    assert verdict.tone == tone
    assert headline in verdict.headline


def comparison(mean, adjusted, seeds, baseline="real"):
    estimate = Estimate(mean, mean - 0.01, mean + 0.01, adjusted, seeds, 40)
    return Comparison("unet", Setting(*S1), baseline, estimate, adjusted=adjusted, family=2)


def judged(values, *tests):
    keys = {(s, i): RunKey("d", "unet", *s, i) for s, column in values.items() for i in range(len(column))}
    runs = [Run(key, {"mDice": values[s][i], "mIoU": 0.5}) for (s, i), key in keys.items()]
    return judge(build_table("d", runs, [], Grid(tuple(keys.values()))), "unet", tests)


LOW = {REAL: [0.5] * 3, TWICE: [0.5] * 3, S1: [0.4] * 3}
HIGH = {REAL: [0.5] * 3, TWICE: [0.5] * 3, S1: [0.6] * 3}
ONE = {REAL: [0.5], TWICE: [0.5], S1: [0.6]}


@pytest.mark.parametrize(
    ("values", "tests", "tone", "headline"),
    [
        (LOW, [comparison(-0.1, 0.01, 3)], "none", "No gain over real pairs only: lower by more than chance explains"),
        (LOW, [comparison(-0.1, 0.4, 3)], "open", "Not higher on average than real pairs only"),
        (
            HIGH,
            [comparison(0.1, 0.01, 3), comparison(-0.1, 0.01, 3, "duplicate")],
            "none",
            "No gain over real pairs twice",
        ),
        (
            HIGH,
            [comparison(0.1, 0.01, 3), comparison(0.1, 0.01, 3, "duplicate")],
            "gain",
            "Higher than both baselines, by",
        ),
        (
            HIGH,
            [comparison(0.1, 0.01, 3), comparison(0.1, 0.3, 3, "duplicate")],
            "open",
            "than real pairs only by more than",
        ),
        (
            ONE,
            [comparison(0.1, 0.4, 1), comparison(0.1, 0.3, 1, "duplicate")],
            "open",
            "No evidence either way: one seed",
        ),
        (ONE, [comparison(0.1, 0.002, 1)], "open", "One seed: better than real pairs only on these test images"),
        (
            ONE,
            [comparison(0.1, 0.002, 1), comparison(-0.1, 0.002, 1, "duplicate")],
            "open",
            "One seed: better than real pairs only and worse than real pairs twice on these test images",
        ),
    ],
)
def test_the_headline_and_the_sentences_of_the_tests_agree(values, tests, tone, headline):
    verdict = judged(values, *tests)
    assert verdict.tone == tone
    assert headline in verdict.headline
    text = " ".join(verdict.sentences)
    assert ("No gain" in verdict.headline) == (" hurt " in text)
    if "is better than" in text or "is worse than" in text:
        assert "No evidence" not in verdict.headline


def test_one_seed_is_called_no_evidence():
    assert "One seed is no evidence" in " ".join(verdict_of({REAL: [0.5], TWICE: [0.5], S1: [0.9]}).sentences)


def test_the_comparison_is_seed_by_seed():
    text = " ".join(verdict_of({REAL: [0.5, 0.6, 0.9], TWICE: [0.5, 0.7, None], S1: [0.6, 0.8, 0.7]}).sentences)
    assert "reaches mDice 70.0 %" in text
    assert "+3.3 \u00b1 20.8 points against real pairs only (66.7 %, 3 seeds)" in text
    assert "+10.0 \u00b1 0.0 points against real pairs used twice (60.0 %, 2 seeds)" in text
    assert "2 of 3 seeds against real pairs only and in 2 of 2 seeds against real pairs twice" in text


def test_the_best_is_picked_among_settings_of_most_seeds_and_the_picking_is_said():
    text = " ".join(verdict_of({REAL: [0.5] * 3, TWICE: [0.5] * 3, S1: [0.6] * 3, S2: [0.9, None, None]}).sentences)
    assert "s, real masks, \u00d71, reaches" in text
    assert "best of 2 synthetic settings" in text


def test_settings_that_have_not_run_are_counted():
    text = " ".join(verdict_of({REAL: [0.5] * 3, TWICE: [0.5] * 3, S1: [0.6] * 3, S2: [None] * 3}).sentences)
    assert "1 of 2 synthetic settings has not run yet" in text
    assert "best of" not in text
