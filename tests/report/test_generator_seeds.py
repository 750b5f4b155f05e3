"""Several trainings of one generator: crossed with the segmenter's seeds in every table, test and sentence."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from data.pairs.files import write_json
from data.pairs.seeds import item_seed
from evaluation.results.comparison import build_table, volume_series
from evaluation.results.generators import over_generators
from evaluation.results.results import Grid, Run, RunKey, Scores, SetKey, read_runs, read_scores
from evaluation.results.significance import compare_all
from evaluation.tables.score_section import score_section
from evaluation.tables.significance_text import ONE_TRAINING, render_csv, sentence
from evaluation.tables.tables import render_csv as render_runs
from evaluation.tables.tables import render_scores_csv, render_series_csv, text_table
from evaluation.tables.verdict import judge

REAL, TWICE, MADE = ("real", "real", 1), ("duplicate", "real", 1), ("s", "random", 1)
SEEDS, TRAININGS = (0, 1, 2), {0: 0.08, 1: 0.10, 4: 0.15}  # seed of the generator -> gain


def run(setting, seed, gain, trained=None):
    """Return a run on 40 images whose scores gain `gain`."""
    rng = np.random.default_rng(item_seed(*setting, seed, str(trained)))
    scores = 0.6 + gain + rng.normal(0, 0.02, 40) + 0.01 * seed
    images = [{"id": str(number), "fg_image/dice": float(score)} for number, score in enumerate(scores)]
    metrics = {"mDice": float(np.mean(scores)), "mIoU": 0.5, "images": 40}
    return Run(RunKey("d", "unet", *setting, seed, trained), metrics, {"test_sets": {"test": {"images": images}}})


def runs_of(trainings) -> list[Run]:
    baselines = [run(setting, seed, 0.0) for setting in (REAL, TWICE) for seed in SEEDS]
    return [*baselines, *(run(MADE, seed, gain, g) for g, gain in trainings.items() for seed in SEEDS)]


RUNS = runs_of(TRAININGS)
GRID = Grid(tuple(one.key for one in RUNS))
ONE = [one for one in RUNS if one.key.generator_seed in (None, 0)]


@pytest.mark.parametrize(
    ("name", "source", "trained"),
    [("siamese-g3-random", "siamese", 3), ("a-g1-g0-random", "a-g1", 0), ("a-strict-g12-random", "a-strict", 12),
     ("pasted-real", "pasted", None), ("g1-real", "g1", None)],
)  # fmt: skip
def test_names_of_results_say_which_training(tmp_path, name, source, trained):
    write_json(tmp_path / f"segmentation/d/unet/{name}-x2-s5.json", {"mDice": 0.5})
    write_json(tmp_path / f"scores/d/{name}.json", {"lite0_kernel": 0.5})
    masks = name.rpartition("-")[2]
    assert [one.key for one in read_runs(tmp_path)] == [RunKey("d", "unet", source, masks, 2, 5, trained)]
    assert [one.key for one in read_scores(tmp_path)] == [SetKey("d", source, masks, trained)]


def test_results_of_before_stand_apart():
    old = replace(RUNS[-1], key=RUNS[-1].key._replace(generator_seed=None))
    assert GRID.earlier([*RUNS, old]) == [old]


def test_tables_are_over_both_seeds_and_say_how_many_of_each():
    (row,) = (row for row in text_table(build_table("d", RUNS, [], GRID)).rows if row[0].text == "s")
    dice, gain, _ = (cell.text for cell in row[3:])
    values = [one.metrics["mDice"] for one in RUNS if one.key.source == "s"]
    assert dice == f"{100 * np.mean(values):.1f} \u00b1 {100 * np.std(values, ddof=1):.1f} (3 \u00d7 3)"
    real = {one.key.seed: one.metrics["mDice"] for one in RUNS if one.key.source == "real"}
    gains = [one.metrics["mDice"] - real[one.key.seed] for one in RUNS if one.key.source == "s"]
    assert gain == f"{100 * np.mean(gains):+.1f} \u00b1 {100 * np.std(gains, ddof=1):.1f}"
    assert row[3].best  # among cells of as many seeds of the segmenter, not of runs
    (row,) = (row for row in text_table(build_table("d", RUNS[:-1], [], GRID)).rows if row[0].text == "s")
    assert row[3].text.endswith("(8 of 3 \u00d7 3)")
    rows = list(csv.DictReader(io.StringIO(render_runs("d", RUNS, GRID))))
    (points,) = (points for key, points in volume_series(RUNS).items() if key[2] == "s")
    rows_of_curve = list(csv.DictReader(io.StringIO(render_series_csv(points))))
    assert [(row["n"], row["generators"]) for row in rows_of_curve] == [("3", "0"), ("9", "3")]
    assert [row["generator_seed"] for row in rows] == [""] * 6 + ["0"] * 3 + ["1"] * 3 + ["4"] * 3


def test_the_test_is_over_generators_seeds_and_images():
    several, alone = compare_all("d", RUNS, GRID)[0], compare_all("d", ONE, Grid(tuple(one.key for one in ONE)))[0]
    estimate = several.estimate
    assert (estimate.generators, estimate.seeds, estimate.images) == (3, 3, 40)
    assert estimate.mean == pytest.approx(np.mean([*TRAININGS.values()]), abs=0.01)
    assert estimate.high - estimate.low > 4 * (alone.estimate.high - alone.estimate.low)
    assert "3 generators \u00d7 3 seeds, 40 images" in sentence(several)
    assert ONE_TRAINING not in sentence(several)
    assert ONE_TRAINING in sentence(alone)
    rows = list(csv.DictReader(io.StringIO(render_csv("d", (several, alone)))))
    assert [row["generators"] for row in rows] == ["3", "1"]
    assert [row["covers"] for row in rows] == ["images and seeds and generators", "images and seeds"]


def test_a_training_that_lacks_a_seed_leaves_that_seed_out():
    one = compare_all("d", RUNS[:-1], GRID)[0]
    assert (one.estimate.generators, one.estimate.seeds, one.seeds_left_out) == (3, 2, 1)


def test_one_training_is_the_estimate_of_before():
    """As a run without a generator's seed, such as a baseline's."""
    plain = [replace(one, key=one.key._replace(generator_seed=None)) for one in ONE]
    before, now = (compare_all("d", runs, Grid(tuple(one.key for one in runs)))[0] for runs in (plain, ONE))
    assert before.estimate == now.estimate
    assert ONE_TRAINING not in sentence(before)  # no generator made it


def test_the_verdict_says_what_trainings_gain_or_that_there_is_one():
    told = " ".join(judge(build_table("d", RUNS, [], GRID), "unet", compare_all("d", RUNS, GRID)).sentences)
    assert "Its 3 generators, one a seed of training, gain +" in told
    assert "3 of 3 seeds against real pairs only" in told
    assert ONE_TRAINING not in told.lower()
    grid = Grid(tuple(one.key for one in ONE))
    verdict = judge(build_table("d", ONE, [], grid), "unet", compare_all("d", ONE, grid))
    assert f"{ONE_TRAINING.capitalize()}." in verdict.sentences


SETS = [
    Scores("d", "s", "random", {"lite0_kernel": value, "lite0_kernel_se": 0.1, "kid": None, "n_real": 9},
           {"lite0_kernel": {"value": value, "se": 0.1, "floor": 0.25}, "kid": {"value": None, "reason": "few"}}, seed)
    for seed, value in ((0, 1.0), (1, 2.0), (2, 3.0))
]  # fmt: skip


def test_scores_are_means_with_their_spread_over_trainings():
    assert over_generators(SETS[:1]) == SETS[:1]
    (one,) = over_generators(SETS)
    assert [one.metrics[f"lite0_kernel{end}"] for end in ("", "_low", "_high")] == [2.0, 1.0, 3.0]
    assert (one.metrics["kid"], one.metrics["n_real"]) == (None, 9)
    section = score_section("d", SETS)
    assert section.values.columns[1] == "s, random masks, 3 trainings"
    assert section.values.rows[0][1].text == "2.00 (1.00 to 3.00)"
    assert "in brackets: lowest and highest of 3 trainings of the generator" in section.meanings[0].facts
    assert [names for names, reason in section.missing if reason == "few"] == ["kid"]
    grid = Grid(GRID.runs, made=tuple(one.key for one in SETS))
    (row,) = (row for row in text_table(build_table("d", RUNS, SETS, grid)).rows if row[0].text == "s")
    assert "2.00 (1.00 to 3.00)" in [cell.text for cell in row]
    rows = list(csv.DictReader(io.StringIO(render_scores_csv("d", SETS, grid))))
    assert [(row["generator_seed"], row["lite0_kernel"]) for row in rows] == [("0", "1.0"), ("1", "2.0"), ("2", "3.0")]


def test_generators_meet_training_by_training():
    against = [replace(one, key=one.key._replace(source="other")) for one in RUNS if one.key.generator_seed is not None]
    runs = [*RUNS, *against]
    grid = Grid(tuple(one.key for one in runs), against=("other",))
    same = [one for one in compare_all("d", runs, grid) if one.baseline == "other"]
    assert same
    for one in same:
        assert one.estimate.mean == 0
        assert one.estimate.generators == len(TRAININGS)
    assert all(one.setting.source != "other" for one in same)
