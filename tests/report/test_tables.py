"""Tables show what the files hold: in order, with seeds, gaps and gains."""

import csv
import io
import statistics
from dataclasses import replace

import pytest

from evaluation.results.comparison import Setting, build_table, differences, summarize, volume_series
from evaluation.results.results import Grid, Run, RunKey, Scores, read_runs, read_scores
from evaluation.tables.tables import render_csv, render_markdown, render_scores_csv, render_series_csv, text_table
from evaluation.tables.text import MISSING, number, percent


def runs_of(values):
    """Return runs of one architecture from {(source, masks, multiple): {seed: mDice}}."""
    return [
        Run(RunKey("d", "unet", *setting, seed), {"mDice": dice, "mIoU": dice / 2})
        for setting, by_seed in values.items()
        for seed, dice in by_seed.items()
    ]


def cells_of(runs, grid=None):
    """Return {first three cells: the cells after them} of the only data set."""
    grid = grid or Grid(tuple(run.key for run in runs))
    rows = text_table(build_table("d", runs, [], grid)).rows
    return {tuple(cell.text for cell in row[:3]): row[3:] for row in rows}


REAL, TWICE, S1, S2 = (("real", "real", 1), ("duplicate", "real", 1), ("s", "real", 1), ("s", "real", 2))


def test_rows_are_real_twice_then_generators_in_the_order_of_the_grid(tree):
    runs = read_runs(tree.root)
    table = build_table("phantom", runs, read_scores(tree.root), Grid(tuple(reversed(tree.grid().runs))))
    settings = [row.setting for row in table.rows]
    assert settings[:3] == [Setting(*REAL), Setting(*TWICE), Setting("siamese", "real", 1)]
    assert settings[-1] == Setting("controlnet-wc05", "random", 2)
    assert table.architectures == ("segformer", "unet")
    assert table.images == (40,)


def test_means_spreads_and_gains_are_those_of_the_seeds(tree):
    table = build_table("phantom", read_runs(tree.root), [], tree.grid())
    dice = {
        source: [tree.runs[RunKey("phantom", "unet", source, "real", 1, seed)]["mDice"] for seed in (0, 1, 2)]
        for source in ("real", "siamese")
    }
    (row,) = [row for row in table.rows if row.setting == Setting("siamese", "real", 1)]
    summary = row.outcomes["unet"].summary("mDice")
    assert summary.mean == pytest.approx(sum(dice["siamese"]) / 3)
    assert summary.sd == pytest.approx(statistics.stdev(dice["siamese"]))
    gains = differences(row.outcomes["unet"].values["mDice"], table.baseline("real", "unet"))
    assert list(gains.values()) == pytest.approx([s - r for s, r in zip(dice["siamese"], dice["real"], strict=True)])


def test_one_seed_has_no_spread_and_the_gain_is_over_shared_seeds():
    cells = cells_of(runs_of({REAL: {0: 0.5}, S1: {0: 0.6, 1: 0.8}}))
    assert [cell.text for cell in cells["real pairs only", "", ""]] == ["50.0 (1)", "", "25.0"]
    dice, gain, iou = (cell.text for cell in cells["s", "real", "\u00d71"])
    assert dice == "70.0 \u00b1 14.1 (2)"
    assert gain == "+10.0 (1 of 2)"
    assert iou == "35.0 \u00b1 7.1"


def test_missing_runs_are_dashes_and_missing_seeds_are_counted():
    runs = runs_of({REAL: {0: 0.5, 1: 0.5}, S1: {0: 0.6}})
    wanted = [RunKey("d", "unet", *setting, seed) for setting in (REAL, S1, S2) for seed in (0, 1)]
    cells = cells_of(runs, Grid(tuple(wanted)))
    assert cells["s", "real", "\u00d71"][0].text == "60.0 (1 of 2)"
    assert [cell.text for cell in cells["s", "real", "\u00d72"]] == [MISSING] * 3


def test_a_setting_that_an_architecture_does_not_run_is_empty_not_missing():
    grid = Grid((RunKey("d", "unet", *REAL, 0), RunKey("d", "unet", *S1, 0), RunKey("d", "segformer", *REAL, 0)))
    cells = cells_of([], grid)
    assert [cell.text for cell in cells["s", "real", "\u00d71"]] == [MISSING] * 3 + [""] * 3


def test_the_best_is_bold_among_cells_of_most_seeds_and_ties_share_it():
    cells = cells_of(runs_of({REAL: {0: 0.5, 1: 0.5}, TWICE: {0: 0.70001, 1: 0.7}, S1: {0: 0.7, 1: 0.7}, S2: {0: 0.9}}))
    best = {name[0] + name[2] for name, row in cells.items() if row[0].best}
    assert best == {"real pairs twice", "s\u00d71"}


def test_nothing_is_best_where_all_are_alike_or_one_is_alone():
    for values in ({REAL: {0: 0.5}, TWICE: {0: 0.50001}}, {REAL: {0: 0.5}}):
        assert not any(row[0].best for row in cells_of(runs_of(values)).values())


def test_the_best_score_follows_its_direction(tree):
    scores = read_scores(tree.root)
    text = text_table(build_table("phantom", [], scores, tree.grid()))
    for name, column, best in (
        ("lite0_frechet", "Frechet distance, lite0\u00a0\u2193", min),
        ("mask_fidelity", "Mask fidelity\u00a0\u2191", max),
    ):
        at = text.columns.index(column)
        values = [flat[name] for (dataset, _, _), flat in tree.scores.items() if dataset == "phantom"]
        assert [row[at].text for row in text.rows if row[at].best] == [number(best(values))]
        assert sum(row[at].text != "" for row in text.rows) == len(values)
    assert not any("KID" in column for column in text.columns)


def test_a_null_score_is_a_dash_beside_values(tree):
    scores = read_scores(tree.root)
    scores[0].metrics["lite0_frechet"] = None
    text = text_table(build_table(scores[0].dataset, [], scores, tree.grid()))
    column = [row[text.columns.index("Frechet distance, lite0\u00a0\u2193")].text for row in text.rows]
    assert column.count(MISSING) == 1


def test_generators_that_make_their_masks_have_their_own():
    runs = runs_of({REAL: {0: 0.5}, S1: {0: 0.6}, S2: {0: 0.6}})
    grid = Grid(tuple(run.key for run in runs), own_masks=frozenset({"s"}))
    assert {name[1] for name in cells_of(runs, grid)} == {"", "own"}
    page = render_markdown(build_table("d", runs, [], grid))
    assert "the generator made each mask with its image" in page
    assert "own" not in render_markdown(build_table("d", runs, [], Grid(grid.runs)))


def test_markdown_is_rectangular_and_escapes_bars():
    runs = runs_of({REAL: {0: 0.5}, ("a|b", "real", 1): {0: 0.6}})
    page = render_markdown(build_table("d", runs, [], Grid(tuple(run.key for run in runs))))
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}
    assert "| **60.0 (1)** | +10.0 |" in lines[-1]


def test_csv_holds_every_run_as_it_was_read(tree):
    runs = read_runs(tree.root)
    grid = tree.grid(seeds=[0])
    absent = RunKey("phantom", "unet", "siamese", "real", 9, 0)
    rows = list(csv.DictReader(io.StringIO(render_csv("phantom", runs, Grid((*grid.runs, absent))))))
    found = {}
    for row in rows:
        key = RunKey(*(row[name] for name in RunKey._fields[:4]), int(row["multiple"]), int(row["seed"]))
        found[key] = row
        assert row["asked"] == ("1" if key.seed == 0 else "0")
    assert found.pop(absent)["mDice"] == ""
    expected = {key: metrics for key, metrics in tree.runs.items() if key.dataset == "phantom"}
    assert {key: {name: float(row[name]) for name in expected[key]} for key, row in found.items()} == expected
    assert len(rows) == len(expected) + 1


def test_scores_csv_holds_values_and_empty_cells_for_nulls(tree):
    rows = list(csv.DictReader(io.StringIO(render_scores_csv("ph2", read_scores(tree.root), tree.grid()))))
    assert len(rows) == 4
    for row in rows:
        for name, value in tree.scores["ph2", row["source"], row["masks"]].items():
            assert row[name] == "" if value is None else float(row[name]) == value


def test_volume_series_start_at_real_only_and_skip_what_has_not_run(tree):
    series = volume_series([run for run in read_runs(tree.root) if run.key.multiple != 2 or run.key.masks == "real"])
    assert [point.multiple for point in series["phantom", "unet", "siamese", "real"]] == [0, 1, 2]
    assert [point.multiple for point in series["phantom", "unet", "siamese", "random"]] == [0, 1]
    assert [point.multiple for point in series["phantom", "unet", "duplicate", "real"]] == [0, 1]
    assert len(series) == 2 * 2 * 5
    points = series["ph2", "unet", "siamese", "real"]
    rows = list(csv.DictReader(io.StringIO(render_series_csv(points))))
    mine = [tree.runs[RunKey("ph2", "unet", "siamese", "real", 2, seed)]["mDice"] for seed in (0, 1, 2)]
    assert float(rows[2]["mDice"]) == pytest.approx(sum(mine) / 3)
    assert float(rows[2]["mDice_sd"]) == pytest.approx(statistics.stdev(mine))
    assert [row["n"] for row in rows] == ["3", "3", "3"]


def test_the_points_of_a_series_are_of_the_same_seeds():
    """A seed that lifts everything, and runs at 1x alone, must not bend the curve."""

    def run(source, multiple, seed, mdice):
        return Run(RunKey("d", "unet", source, "real", multiple, seed), {"mDice": mdice, "mIoU": mdice})

    runs = [run("real", 1, seed, 0.5 + 0.1 * seed) for seed in (0, 1, 2)]
    runs += [run("s", 1, seed, 0.52 + 0.1 * seed) for seed in (0, 1, 2)] + [run("s", 2, 0, 0.56)]
    points = volume_series(runs)["d", "unet", "s", "real"]
    assert [(point.multiple, round(point.mdice.mean, 2), point.mdice.n) for point in points] == [
        (0, 0.5, 1), (1, 0.52, 1), (2, 0.56, 1)
    ]  # fmt: skip


def test_scores_of_sets_that_are_no_longer_scored_are_in_no_table(tree):
    scores = read_scores(tree.root)
    of = next(one for one in scores if one.dataset == "ph2" and one.source == "siamese")
    grid = replace(tree.grid(), scored=tuple(one.key for one in scores if one.key != of.key))
    runs = read_runs(tree.root)
    rows = {row.setting: row for row in build_table("ph2", runs, scores, grid).rows}
    before = {row.setting: row for row in build_table("ph2", runs, scores, tree.grid()).rows}
    stale = [one for one in rows if (one.source, one.masks) == (of.source, of.masks)]
    assert any(before[one].scores for one in stale)
    assert not any(rows[one].scores is not None for one in stale)
    lines = list(csv.DictReader(io.StringIO(render_scores_csv("ph2", scores, grid))))
    asked = {(row["source"], row["masks"]): row["asked"] for row in lines}
    assert asked.pop((of.source, of.masks)) == "0"
    assert set(asked.values()) == {"1"}


def test_a_baseline_says_how_many_pairs_it_has_and_unequal_numbers_are_not_ranked():
    key = RunKey("d", "unet", "real", "real", 1, 0)
    runs = [Run(key, {"mDice": 0.5, "mIoU": 0.4}, {"real": 25, "synthetic": 0})]
    runs += [Run(key._replace(source=name), {"mDice": 0.6, "mIoU": 0.4}, {"real": 25, "synthetic": n})
             for name, n in (("augment", 400), ("pseudo", 535))]  # fmt: skip
    scores = [Scores("d", name, "real", {"lite0_frechet": float(n), "lite0_kernel": float(n), "n_synthetic": n})
              for name, n in (("augment", 400), ("pseudo", 535))]  # fmt: skip
    made = tuple(one.key for one in scores)
    grid = Grid(tuple(run.key for run in runs), ("real", "augment", "pseudo"), made)
    shown = text_table(build_table("d", runs, scores, grid))
    cells = {row[0].text: dict(zip(shown.columns, row, strict=True)) for row in shown.rows}
    assert [cells[name]["Volume"].text for name in ("augment", "pseudo")] == ["\u00d716", "\u00d721.4"]
    best = {title: cells["augment"][title].best for title in shown.columns if "distance" in title}
    assert list(best.values()) == [False, True]


def test_a_run_without_mdice_is_no_point_and_no_value():
    runs = [*runs_of({REAL: {0: 0.5}}), Run(RunKey("d", "unet", *S1, 0), {"mDice": None, "mIoU": None})]
    assert [point.multiple for point in volume_series(runs)["d", "unet", "s", "real"]] == [0]
    assert cells_of(runs)["s", "real", "\u00d71"][0].text == MISSING


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.836, "0.836"), (0.8, "0.800"), (12.345, "12.3"), (1234.5, "1234"), (None, MISSING), (0, "0.00")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0213, "+2.1"), (-0.0213, "-2.1"), (-0.0001, "0.0")])
def test_gains_have_signs_and_zero_has_none(value, text):
    assert percent(value, "+") == text


def test_summaries_of_none_and_one():
    assert summarize([]) == (None, None, 0)
    assert summarize([0.5]) == (0.5, None, 1)
