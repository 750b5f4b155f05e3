"""The table of every convention: what was measured, nothing else, and a dash where something is not there."""

from evaluation.results.results import Grid, Run, RunKey
from evaluation.tables.conventions import COLUMNS, render_conventions
from evaluation.tables.score_section import weights_sentence
from segmentation.measures.evaluate import FLAT


def run(architecture, source, seed, value):
    return Run(RunKey("set", architecture, source, "real", 1, seed), {name: value for name in COLUMNS})


def test_each_metric_has_a_column_and_seeds_are_averaged():
    runs = [run("sanet", "real", 0, 0.5), run("sanet", "real", 1, 0.7), run("unet", "duplicate", 0, 0.25)]
    runs[2] = Run(runs[2].key, {**runs[2].metrics, "mae": None})
    asked = [one.key for one in runs] + [RunKey("other", "unet", "real", "real", 1, 0)]
    lines = render_conventions("set", runs, Grid(tuple(asked))).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["Architecture", "Trained on", *COLUMNS.values(), "Seeds"]
    assert cells[2] == ["sanet", "real pairs only", *["60.0"] * len(COLUMNS), "2"]
    row = dict(zip(cells[0], cells[3], strict=True))
    assert (row["Trained on"], row["MAE"], row["S"], row["Seeds"]) == ("real pairs twice", "\u2013", "25.0", "1")
    assert len(cells) == 4


def test_every_metric_that_is_stored_has_a_column():
    assert set(COLUMNS) == set(FLAT) - {"images"}


def test_the_page_says_which_weights_were_tested():
    def kept(architecture, rule):
        return Run(RunKey("set", architecture, "real", "real", 1, 0), {}, {"row": {"keep": rule}})

    assert "none is picked by its test result" in weights_sentence([kept("sanet", "last"), run("unet", "real", 0, 0.5)])
    told = weights_sentence([kept("sanet", "last"), kept("polyp-pvt", "best_test"), kept("unet", "best_val")])
    assert "polyp-pvt: the best on the test sets, so that their results say too much" in told
    assert "unet: the best on validation pairs" in told
    assert "none is picked" not in told
