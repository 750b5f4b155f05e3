"""From runs on disk to tested differences: the right runs are paired, and no sentence says more than its interval."""

import csv
import io
import time
from pathlib import Path

import numpy as np
import pytest

from data.pairs.seeds import item_seed
from evaluation.page.page import Report, render_report
from evaluation.results.comparison import Setting, build_table
from evaluation.results.crossed_bootstrap import Estimate, compare, holm
from evaluation.results.results import Grid, Run, RunKey, read_runs
from evaluation.results.significance import Comparison, compare_all
from evaluation.tables.significance_text import comparison_table, render_csv, render_markdown, sentence
from evaluation.tables.verdict import judge

REAL, TWICE, S1, S2 = (("real", "real", 1), ("duplicate", "real", 1), ("s", "real", 1), ("s", "random", 2))
SIZES = {"first": 30, "second": 20}
DIFFICULTY = np.random.default_rng(0).uniform(0.3, 0.8, 50)


def run(setting, seed, gain, architecture="unet", rest=0.02, sizes=SIZES):
    """Return a run whose images gain `gain` over a shared difficulty, and a remainder drawn from the run's name."""
    rng = np.random.default_rng(item_seed(architecture, *setting, seed))
    values = iter(np.resize(DIFFICULTY, sum(sizes.values())) + gain + rng.normal(0, rest, sum(sizes.values())))
    sets = {
        name: {"n": n, "images": [{"id": f"{i}", "fg_image/dice": float(next(values))} for i in range(n)]}
        for name, n in sizes.items()
    }
    every = [row["fg_image/dice"] for one in sets.values() for row in one["images"]]
    metrics = {"mDice": float(np.mean(every)), "mIoU": 0.5, "images": len(every)}
    return Run(RunKey("d", architecture, *setting, seed), metrics, {"test_sets": sets})


def grid_of(runs):
    return Grid(tuple(one.key for one in runs))


def compared(runs, **changes):
    """Return {(architecture, setting, baseline): comparison}."""
    found = compare_all("d", runs, grid_of(runs), **changes)
    return {(one.architecture, one.setting, one.baseline): one for one in found}


def three_seeds(gain=0.1, twice=0.0):
    return [run(s, seed, g) for s, g in ((REAL, 0.0), (TWICE, twice), (S1, gain), (S2, 0.0)) for seed in range(3)]


def test_each_synthetic_setting_meets_both_baselines_seed_by_seed():
    runs = three_seeds()
    found = compared(runs)
    assert list(found) == [("unet", s, b) for b in ("real", "duplicate") for s in (S1, S2)]
    by_key = {one.key[:6]: one.metrics["mDice"] for one in runs}
    for (architecture, setting, baseline), one in found.items():
        against = {"real": REAL, "duplicate": TWICE}[baseline]
        gaps = [by_key["d", architecture, *setting, s] - by_key["d", architecture, *against, s] for s in range(3)]
        assert one.estimate.mean == pytest.approx(np.mean(gaps))
        assert (one.estimate.seeds, one.estimate.images, one.family) == (3, 50, 2)
        assert one.estimate.low <= one.estimate.mean <= one.estimate.high
    assert found["unet", S1, "real"].found
    assert not found["unet", S2, "real"].found


def test_p_is_corrected_within_one_baseline_over_architectures():
    runs = [*three_seeds(), *(run(s, seed, g, "segformer") for s, g in ((REAL, 0), (S1, 0.02)) for seed in range(3))]
    found = compared(runs)
    family = [one for one in found.values() if one.baseline == "real"]
    assert [one.adjusted for one in family] == holm([one.estimate.p for one in family])
    assert {one.family for one in family} == {3}
    assert "no seed" in found["segformer", S1, "duplicate"].reason
    assert found["unet", S1, "duplicate"].family == 2


def test_seeds_and_images_without_a_partner_are_left_out_and_counted():
    runs = [*(run(REAL, s, 0.0) for s in (0, 1, 2)), *(run(S1, s, 0.1) for s in (1, 2, 3, 4))]
    runs[1].details["test_sets"]["first"]["images"][0]["fg_image/dice"] = None
    del runs[-1].details["test_sets"]["first"]["images"][1]  # of seed 4, which is not paired
    one = compared(runs)["unet", S1, "real"]
    assert (one.estimate.seeds, one.seeds_left_out) == (2, 3)
    assert (one.estimate.images, one.images_left_out) == (49, 1)


def test_images_pair_by_test_set_and_id_not_by_place():
    runs = three_seeds()
    before = compared(runs)
    for one in runs[::2]:
        for rows in one.details["test_sets"].values():
            rows["images"].reverse()
    assert compared(runs) == before


@pytest.mark.parametrize("sizes", [{"first": 30, "second": 1}, {"first": 1}, {}])
def test_what_cannot_be_tested_has_a_reason(sizes):
    runs = [run(s, seed, 0.0, sizes=sizes) if sizes else Run(RunKey("d", "unet", *s, seed), {"mDice": 0.5})
            for s in (REAL, S1) for seed in range(3)]  # fmt: skip
    found = compared(runs)
    assert all(one.estimate is None and one.adjusted is None and one.reason for one in found.values())
    assert "could not be tested against real pairs only: " in sentence(found["unet", S1, "real"])
    assert {row["difference"] for row in csv.DictReader(io.StringIO(render_csv("d", tuple(found.values()))))} == {""}


def test_an_estimate_depends_on_its_own_runs_only():
    runs = three_seeds()
    some = compared([one for one in runs if one.key[2:5] != S2])["unet", S1, "real"].estimate
    assert vars(some) == pytest.approx(vars(compared(runs)["unet", S1, "real"].estimate))


def test_any_score_of_single_images_can_be_compared():
    runs = three_seeds()
    for one in runs:
        for rows in one.details["test_sets"].values():
            for row in rows["images"]:
                row["toolbox/mae"] = 1 - row["fg_image/dice"]
    found = compared(runs, score="toolbox/mae")["unet", S1, "real"].estimate
    assert found.mean == pytest.approx(-compared(runs)["unet", S1, "real"].estimate.mean)


def comparison(mean, low, high, p, adjusted, seeds, baseline="real"):
    estimate = Estimate(mean, low, high, p, seeds, 798)
    return Comparison("unet", Setting("siamese", "random", 1), baseline, estimate, adjusted=adjusted, family=12)


def test_sentences_of_several_seeds():
    text = sentence(comparison(0.021, 0.004, 0.038, 0.003, 0.03, 3))
    assert text == (
        "Synthetic pairs (siamese, random masks, \u00d71) helped unet: +2.1 points against real pairs only (95 % "
        "interval +0.4 to +3.8, p = 0.030 after correction for 12 comparisons; 3 seeds, 798 images)."
    )
    assert " hurt unet: -2.1 points against real pairs twice" in sentence(
        comparison(-0.021, -0.038, -0.004, 0.0001, 0.0009, 5, "duplicate")
    )
    text = sentence(comparison(0.021, 0.004, 0.038, 0.03, 0.3, 3))
    assert text.startswith("No evidence that synthetic pairs")
    assert text.endswith("Without correction p = 0.030.")
    assert not any(word in text for word in ("helped", "hurt", "better"))


@pytest.mark.parametrize("adjusted", [0.01, 0.6])
def test_a_sentence_of_one_seed_speaks_of_images_only(adjusted):
    text = sentence(comparison(0.021, 0.004, 0.038, 0.001, adjusted, 1))
    assert "1 seed, 798 images; over images only: how much another seed would change is unknown" in text
    assert "helped" not in text
    assert ("This one unet" in text) == (adjusted < 0.05)


def test_what_is_found_has_an_interval_on_one_side_of_zero():
    rng = np.random.default_rng(0)
    gains = [np.full((3, 1), gain) + rng.normal(0, 0.1, (3, 40)) for gain in np.linspace(-0.1, 0.1, 200)]
    estimates = compare(gains, np.zeros(40, int), rng, 1000)
    assert any(one.p < 0.05 for one in estimates)
    assert all(one.low * one.high > 0 for one in estimates if one.p < 0.05)


@pytest.mark.parametrize(("twice", "tone"), [(0.0, "gain"), (0.096, "open"), (0.15, "none")])
def test_the_verdict_is_a_gain_only_where_both_tests_find_one(twice, tone):
    runs = three_seeds(twice=twice)
    verdict = judge(build_table("d", runs, [], grid_of(runs)), "unet", compare_all("d", runs, grid_of(runs)))
    text = " ".join(verdict.sentences)
    assert verdict.tone == tone
    assert "helped unet: +" in text
    assert ("No evidence that" in text) == (tone == "open")
    assert (" hurt unet: -" in text) == (tone == "none")


def test_tables_hold_every_comparison_and_the_page_shows_them():
    runs = three_seeds()
    found = compare_all("d", runs, grid_of(runs))
    table = comparison_table(found)
    assert sum(width for _, width in table.groups) == len(table.columns) == len(table.rows[0])
    assert [cell.best for cell in table.rows[0]].count(True) == 2
    lines = [line for line in render_markdown("d", found).splitlines() if line.startswith("| s,")]
    assert len(lines) == len(found)
    for one, row in zip(found, csv.DictReader(io.StringIO(render_csv("d", found))), strict=True):
        assert float(row["difference"]) == pytest.approx(one.estimate.mean, abs=1e-6)
        assert float(row["p_holm"]) == pytest.approx(one.adjusted, abs=1e-6)
        assert row["covers"] == "images and seeds"
    page = render_report(Report(runs, [], grid_of(runs)))
    assert page.count("Is a difference real?") == 1
    assert page.index("Results on d") < page.index("Is a difference real?")
    assert "no significance test" not in page


def test_a_large_data_set_takes_seconds():
    settings = [REAL, TWICE, *(("s", "real", multiple) for multiple in range(1, 16))]
    runs = [run(s, seed, 0.01 * s[2], sizes={"a": 600, "b": 400}) for s in settings for seed in range(5)]
    start = time.process_time()
    assert len(compared(runs)) == 30
    assert time.process_time() - start < 10


def test_this_project_s_own_runs_say_that_they_are_over_images_only():
    runs = [one for one in read_runs(Path(__file__).parents[2] / "results") if one.key.dataset == "phantom"]
    found = compare_all("phantom", runs, grid_of(runs))
    assert found
    for one in found:
        assert one.estimate.seeds > 1 or "over images only" in sentence(one)


def test_what_the_comparison_names_is_met_too():
    augment, classic = Setting("augment", "real", 1), Setting("controlnet", "random", 2)
    once, twice = Setting("s", "random", 1), Setting("s", "random", 2)
    added = [(REAL, 0.0), (TWICE, 0.0), (augment, 0.05), (once, 0.1), (classic, 0.0), (twice, 0.2)]
    runs = [run(setting, seed, gain) for setting, gain in added for seed in range(3)]
    names = ("real", "duplicate", "augment")
    found = compare_all("d", runs, Grid(tuple(one.key for one in runs), names, against=("augment", "controlnet")))
    plain = compare_all("d", runs, Grid(tuple(one.key for one in runs), names))
    assert found[: len(plain)] == plain
    more = {(one.setting, one.baseline): one for one in found[len(plain) :]}
    assert list(more) == [
        *((setting, "augment") for setting, _ in added[3:]),
        *((setting, "controlnet") for setting in (once, twice)),
    ]
    gaps = [runs[9 + seed].metrics["mDice"] - runs[6 + seed].metrics["mDice"] for seed in range(3)]
    assert more[once, "augment"].estimate.mean == pytest.approx(np.mean(gaps))
    assert more[once, "augment"].family == 3
    assert more[once, "controlnet"].estimate is None  # the other generator made no set of this volume
    assert more[twice, "controlnet"].estimate.mean > 0.1
    table = comparison_table(found)
    assert [title for title, _ in table.groups[1:]] == [
        "against real pairs only",
        "against real pairs twice",
        "against augment",
        "against controlnet",
    ]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    page = render_markdown("d", found)
    assert "## Against augment" in page
    assert "## Against controlnet" in page
