"""The paper's tables are whole, ours stand in their own lines, and every gap has its reason."""

import csv
import io
import re
from pathlib import Path

import pytest

from evaluation.figures.plots import Looks
from evaluation.paper.facts import read_paper
from evaluation.paper.pages import write_paper
from evaluation.paper.render import escape, missing, notes, render_csv, render_latex, render_markdown, text_table, title
from evaluation.paper.tables import LITE0, paper_tables
from evaluation.paper.values import (
    NO_RATERS,
    NO_WEIGHTS,
    NOT_ASKED,
    NOT_PRINTED,
    NOT_RECORDED,
    NOT_RUN,
    TOY,
    Preset,
)
from evaluation.results.results import Grid, Run, RunKey, Scores
from evaluation.tables.text import MISSING

SIZES = {"cvc-300": 60, "clinicdb": 62, "kvasir": 100, "colondb": 380, "etis": 196}
TYPED = list(csv.DictReader(Path(__file__).with_name("paper_values.csv").read_text(encoding="utf-8").splitlines()))
FOLDER = {"polyps": "folder"}
SETTINGS = {"architectures.sanet": "a1", "training": "t1"}
ANY = (RunKey("polyps", "sanet", "siamese", "real", 1, 0),)


def polyp_run(
    source="siamese", masks="real", seed=0, architecture="sanet", dice=0.8, sizes=SIZES, multiple=1, settings=SETTINGS
):
    """Return a run whose Dice is `dice` overall and one point more on each test set further down the table."""
    metrics = {"mDice_thr256": dice, "mIoU_thr256": dice - 0.1, "mDice": 0.123}
    sets = {
        name: {"n": n, "metrics": {"mDice_thr256": dice + 0.01 * i, "mIoU_thr256": 0.5}}
        for i, (name, n) in enumerate(sizes.items())
    }
    key = RunKey("polyps", architecture, source, masks, multiple, seed)
    return Run(key, metrics, {"test_sets": sets, "settings": settings})


def preset(runs=(), kinds=FOLDER, settings=SETTINGS, path="presets/paper-t.yaml"):
    """Return a preset that asks for the runs."""
    return Preset(path, Grid(tuple(runs)), settings, kinds)


def build(runs=(), scores=(), asked=None, kinds=FOLDER, presets=None):
    """Return the tables by key; the one preset of all of them asks for the runs, or for `asked`."""
    asked = tuple(run.key for run in runs) if asked is None else tuple(asked)
    presets = presets or [preset(asked, kinds)]
    tables = paper_tables(runs, scores, Grid(ANY), dict.fromkeys(read_paper().tables, presets))
    return {table.key: table for table in tables}


def cell(table, row, column):
    """Return one cell by its names."""
    rows, columns = [row.name for row in table.facts.rows], [column.name for column in table.columns]
    return table.values[rows.index(row)][columns.index(column)]


def scored(source="siamese", n=1450, details=None, **metrics):
    """Return scores of a polyp set."""
    details = {"settings": SETTINGS, **(details or {})}
    return Scores("polyps", source, "real", {"n_real": n, "n_synthetic": n, **metrics}, details)


def test_the_data_are_what_was_typed_from_the_paper():
    typed = {(line["table"], line["row"], line["column"]): line["value"] for line in TYPED}
    found = {}
    for key, facts in read_paper().tables.items():
        for row in facts.rows:
            found |= {(key, row.name, name): float(on) for name, on in row.settings.items()}
            found |= {(key, row.name, c.name): v for c, v in zip(facts.flat(), row.printed, strict=True)}
    assert len(typed) == len(TYPED) == 563
    assert {place: found[place] for place in typed} == {p: float(v) if v else None for p, v in typed.items()}
    beyond = {place for place in found if place not in typed}
    assert all(found[place] is None and place[0] == "figure7" for place in beyond)


def test_every_row_and_column_of_the_paper_is_shown_without_any_result():
    for key, table in build().items():
        rows = list(csv.DictReader(io.StringIO(render_csv(table))))
        wanted = [(line["row"], line["column"]) for line in TYPED if line["table"] == key]
        assert [(row["row"], row["column"]) for row in rows if (row["row"], row["column"]) in wanted] == wanted
        assert all(row["ours"] == "" and row["difference"] == "" and row["reason"] for row in rows)
        text = text_table(table)
        assert [row[0].text for row in text.rows[::2]] == [row.name for row in table.facts.rows]
        assert sum(width for _, width in text.groups or [("", len(text.columns))]) == len(text.columns)
        assert not table.has_results


def test_the_rows_stand_for_the_standard_names():
    tables = read_paper().tables
    sources = {row.source for facts in tables.values() for row in facts.rows}
    assert sources == {
        *("real", "duplicate", "singan_seg", "dfmgan", "anomaly_diffusion", "t2i_adapter", "arsdm", "controlnet"),
        *("controlnet_image", "siamese", "setting2", "setting3", "setting4", "setting5", "setting6", "setting7"),
        *("wc_0_5", "wc_1_5", "wc_2_0"),
    }
    architectures = {row.architecture or at.architecture for t in tables.values() for row in t.rows for at in t.columns}
    named = {"sanet", "polyp_pvt", "ctnet", "unet", "segformer", "segformer_synthetic"}
    assert architectures - {None} == named  # None: scores of images
    assert {at.dataset for t in tables.values() for at in t.columns} == set(read_paper().sizes)


def test_ours_is_the_mean_over_seeds_in_percent_and_the_difference_is_ours_minus_the_papers():
    table = build([polyp_run(seed=seed, dice=dice) for seed, dice in enumerate((0.80, 0.84))])["table2"]
    overall, etis = cell(table, "SANet Ours", "Overall mDice"), cell(table, "SANet Ours", "ETIS mDice")
    assert overall.ours == pytest.approx((82.0, 4 / 2**0.5, 2))
    assert etis.ours.mean == pytest.approx(86.0)
    assert (overall.paper, etis.paper) == (83.0, 81.1)
    assert (overall.difference, etis.difference) == pytest.approx((-1.0, 4.9))
    assert overall.reason == ""
    assert "82.0 \u00b1 2.8 (2)" in render_markdown(table)
    assert "| SANet Ours | difference | " in render_markdown(table)


def test_the_papers_numbers_never_become_ours():
    for table in build([polyp_run()]).values():
        for row, values in zip(table.facts.rows, table.values, strict=True):
            assert [value.paper for value in values[: len(row.printed)]] == list(row.printed)
            ours = {round(value.ours.mean, 9) for value in values if value.ours.n}
            assert ours <= {50.0, 70.0, 80.0, 81.0, 82.0, 83.0, 84.0}
            assert not ours or (row.source, table.key) in [("siamese", k) for k in ("table2", "table5", "table6")]


def test_each_architecture_has_the_convention_of_its_table():
    key = RunKey("isic2016", "unet", "siamese", "random", 1, 0)
    metrics = {"mDice_pooled": 0.9, "mIoU_two_class_pooled": 0.87, "mDice_classavg": 0.94, "mIoU_classavg": 0.89}
    runs = [
        Run(key._replace(architecture=a), metrics, {"test_sets": {"test": {"n": 379}}, "settings": {}})
        for a in ("unet", "segformer")
    ]
    table = build(runs, kinds={"isic2016": "folder"})["table3"]
    row = [cell(table, "Ours (Random)", f"ISIC2016 {name}") for name in ("UNet mDice", "UNet mIoU")]
    row += [cell(table, "Ours (Random)", f"ISIC2016 {name}") for name in ("SegFormer mDice", "SegFormer mIoU")]
    assert [value.ours.mean for value in row] == pytest.approx([90.0, 87.0, 94.0, 89.0])
    assert cell(table, "Ours (Real)", "ISIC2016 UNet mDice").reason == NOT_ASKED


def test_table_4_needs_four_times_the_pairs_for_a_thousand():
    sizes = read_paper().sizes
    for row in read_paper().tables["table4"].rows:
        if row.multiple > 1:
            assert all(row.multiple * sizes[name]["train"][0] >= 1000 for name in ("stain", "faeces"))
            assert any((row.multiple - 1) * sizes[name]["train"][0] < 1000 for name in ("stain", "faeces"))


def test_every_gap_has_its_reason():
    asked = [polyp_run().key, polyp_run("arsdm").key]
    scores = [scored(mos=None, fid=None, kid=None, details={"kid": {"reason": "too few images"}})]
    tables = build([polyp_run()], scores, asked)
    reasons = {row: cell(tables["table2"], f"SANet {row}", "Overall mDice").reason for row in ("ArSDM", "SinGAN-Seg")}
    assert reasons == {"ArSDM": NOT_RUN, "SinGAN-Seg": NOT_ASKED}
    assert cell(tables["table2"], "CTNet Ours", "Overall mDice").reason == NOT_ASKED
    first = tables["table1"]
    assert [cell(first, "Ours", c).reason for c in ("FID", "KID", "MOS")] == [NO_WEIGHTS, "too few images", NO_RATERS]
    assert cell(first, "ArSDM", "FID").reason == NOT_RUN
    assert missing(first)[NOT_RUN] == "ArSDM"
    assert missing(first)[NO_RATERS] == "Ours (MOS, MOS confidence)"
    assert f"{MISSING} {NOT_RUN}: ArSDM." in notes(first)
    assert cell(build([polyp_run(sizes={"cvc-300": 60})])["table2"], "SANet Ours", "ETIS mDice").reason == (
        "the runs have no mDice_thr256 on etis"
    )


@pytest.mark.parametrize(
    ("sizes", "kinds", "told"),
    [
        (SIZES, {"polyps": "phantom"}, "polyps is of kind phantom"),
        ({**SIZES, "etis": 20}, FOLDER, "etis: 20 images here, 196 in the paper"),
        ({**SIZES, "more": 5}, FOLDER, "more: 5 images here, none in the paper"),
        ({}, FOLDER, "cvc-300: not counted here, 60 in the paper"),
    ],
)
def test_other_data_under_a_standard_name_are_not_compared(sizes, kinds, told):
    table = build([polyp_run(sizes=sizes)], kinds=kinds)["table2"]
    value = cell(table, "SANet Ours", "Overall mDice")
    assert value.ours.mean == pytest.approx(80.0)
    assert value.difference is None
    assert value.reason.startswith(TOY)
    assert told in value.reason
    assert title(table).endswith(f"({TOY})")
    assert "| difference |" not in render_markdown(table)
    assert cell(build([polyp_run()], kinds=FOLDER)["table2"], "SANet Ours", "Overall mDice").difference is not None


def test_scores_of_lite0_never_stand_in_the_papers_columns():
    lite0 = {"lite0_frechet": 0.3, "lite0_kernel": 0.1}
    first = build(scores=[scored(**lite0), scored("controlnet", **{**lite0, "lite0_frechet": 0.2})])["table1"]
    shown = {column.name: cell(first, "Ours", column.name) for column in first.columns}
    assert [name for name, value in shown.items() if value.ours.n] == [
        f"{LITE0} {n} distance" for n in ("Frechet", "Kernel")
    ]
    assert [column.at.group for column in first.columns] == [""] * 7 + [LITE0] * 2
    assert all(value.paper is None and value.reason == NOT_PRINTED for name, value in shown.items() if LITE0 in name)
    assert cell(first, "ControlNet", f"{LITE0} Frechet distance").best
    assert not shown[f"{LITE0} Frechet distance"].best
    real = build(scores=[scored(fid=65.0, **lite0)])["table1"]
    assert [column.at.group for column in real.columns] == [""] * 7
    assert cell(real, "Ours", "FID").difference == pytest.approx(65.0 - 62.706)
    assert cell(build(scores=[scored(n=48, fid=65.0)])["table1"], "Ours", "FID").difference is None


def test_the_best_is_that_of_ours_in_its_block_and_column():
    runs = [polyp_run(s, architecture=a, dice=d) for s, a, d in (("real", "sanet", 0.80), ("siamese", "sanet", 0.83))]
    runs += [polyp_run("real", architecture="ctnet", dice=0.9)]
    table = build(runs)["table2"]
    best = [row.name for row, v in zip(table.facts.rows, table.values, strict=True) if v[10].best]
    assert best == ["SANet Ours"]  # one row alone is not best of anything, and the paper's are never marked


def test_a_cell_has_every_result_with_the_settings_of_its_preset_and_no_other():
    runs = [polyp_run(seed=0, dice=0.8), polyp_run(seed=1, dice=0.9)]
    runs.append(polyp_run(seed=2, dice=0.1, settings=SETTINGS | {"training": "t0"}))
    asked = [polyp_run(seed=seed).key for seed in range(3)]
    table = build(runs, asked=asked)["table2"]
    value = cell(table, "SANet Ours", "Overall mDice")
    assert (value.ours.mean, value.ours.n, value.asked, value.reason) == (pytest.approx(85.0), 2, 3, "")
    assert "85.0 \u00b1 7.1 (2 of 3)" in render_markdown(table)
    not_asked = cell(build(runs[:2], asked=[polyp_run("real").key])["table2"], "SANet Ours", "Overall mDice")
    assert (not_asked.ours.mean, not_asked.ours.n, not_asked.asked) == (pytest.approx(85.0), 2, 0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (SETTINGS | {"training": "t0"}, "made with another training than presets/paper-t.yaml has"),
        ({"training": "t0", "sampling": "s1"}, "made with another sampling, training than presets/paper-t.yaml has"),
        (None, NOT_RECORDED),
    ],
)
def test_a_result_of_other_settings_is_a_gap_with_its_reason(settings, reason):
    stale = [polyp_run(settings=settings, dice=0.1), polyp_run("real")]
    score = scored(fid=65.0, details={"settings": settings})
    tables = build(stale, [score])
    for value in (cell(tables["table2"], "SANet Ours", "Overall mDice"), cell(tables["table1"], "Ours", "FID")):
        assert (value.ours.n, value.difference) == (0, None)
        assert value.reason == reason
    assert cell(tables["table2"], "SANet Real", "Overall mDice").ours.n == 1
    assert f"{MISSING} {reason}: SANet Ours." in notes(tables["table2"])


def test_images_of_a_row_that_the_preset_has_not_are_a_gap():
    run = polyp_run("singan_seg", settings=SETTINGS | {"baselines.singan_seg": "b1"})
    assert "another baselines.singan_seg" in cell(build([run])["table2"], "SANet SinGAN-Seg", "Overall mDice").reason
    presets = [preset([run.key], settings=SETTINGS | {"baselines.singan_seg": "b1"})]
    assert cell(build([run], presets=presets)["table2"], "SANet SinGAN-Seg", "Overall mDice").reason == ""


def test_results_of_the_toy_twin_are_shown_as_toy_until_there_is_one_of_the_papers_preset():
    small = {"architectures.sanet": "a1", "training": "toy"}
    toy = preset([polyp_run().key], {"polyps": "phantom"}, small, "presets/toy-t.yaml")
    presets = [preset([polyp_run(seed=seed).key for seed in range(3)]), toy]
    runs = [polyp_run(settings=small, dice=0.3), polyp_run("real", settings=small, dice=0.2)]
    shown = build(runs, presets=presets)["table2"]
    value = cell(shown, "SANet Ours", "Overall mDice")
    assert (value.ours.mean, value.asked, value.difference) == (pytest.approx(30.0), 1, None)
    assert value.reason.startswith(TOY)
    assert title(shown).endswith(f"({TOY})")
    mixed = build([polyp_run(dice=0.8, seed=1), *runs], presets=presets)["table2"]
    value = cell(mixed, "SANet Ours", "Overall mDice")
    assert (value.ours.mean, value.ours.n, value.asked) == (pytest.approx(80.0), 1, 3)
    assert (
        cell(mixed, "SANet Real", "Overall mDice").reason == "made with another training than presets/paper-t.yaml has"
    )
    assert title(mixed) == f"{mixed.facts.title}: {mixed.facts.caption}"
    stale = [polyp_run(settings=small | {"architectures.sanet": "a0"})]
    reason = cell(build(stale, presets=presets)["table2"], "SANet Ours", "Overall mDice").reason
    assert reason == "made with another architectures.sanet than presets/toy-t.yaml has"


def test_a_table_of_two_presets_takes_each_data_set_from_its_own():
    isic = RunKey("isic2016", "unet", "siamese", "real", 1, 0)
    other = Run(isic, {"mDice_pooled": 0.9}, {"test_sets": {"test": {"n": 379}}, "settings": {"training": "t2"}})
    presets = [preset([polyp_run().key]), preset([isic], {"isic2016": "folder"}, {"training": "t2"})]
    table = build([polyp_run(), other], presets=presets)["table6"]
    assert cell(table, "1.0", "Polyps SANet mDice").ours.mean == pytest.approx(80.0)
    assert cell(table, "1.0", "ISIC2016 UNet mDice").ours.mean == pytest.approx(90.0)


def test_a_table_of_two_presets_with_the_same_settings_is_asked_for_by_both():
    presets = [preset([polyp_run(seed=seed).key for seed in range(2)]), preset([polyp_run("real").key])]
    table = build([polyp_run()], presets=presets)["table2"]
    ours, real = (cell(table, f"SANet {row}", "Overall mDice") for row in ("Ours", "Real"))
    assert (ours.ours.n, ours.asked, real.asked, real.reason) == (1, 2, 1, NOT_RUN)
    presets[1] = presets[1]._replace(settings=SETTINGS | {"training": "t0"})
    assert cell(build([polyp_run()], presets=presets)["table2"], "SANet Real", "Overall mDice").reason == NOT_ASKED


def test_footnotes_say_what_is_odd_about_printed_numbers():
    tables = build()
    assert cell(tables["table2"], "SANet ArSDM", "Kvasir mDice").footnotes == (1,)
    assert {cell(tables["table2"], "CTNet Real", c.name).footnotes for c in tables["table2"].columns} == {(0,)}
    assert (
        cell(tables["table5"], "Setting 6", "FID").footnotes == cell(tables["table5"], "Ours", "FID").footnotes == (1,)
    )
    inferred = next(row[1:4] for row in text_table(tables["table5"]).rows if row[0].text == "Setting 5")
    assert [one.text for one in inferred] == ["\u1d43", "\u2713\u1d43", "\u2713\u1d43"]
    assert {cell(tables["table6"], "0.0", c.name).footnotes for c in tables["table6"].columns} == {(0,)}
    for name in ("SANet", "Polyp-PVT", "CTNet"):  # what the last footnote says
        repeated = cell(tables["table2"], f"{name} ControlNet (M)", "Overall mDice").paper
        assert cell(tables["table6"], "0.0", f"Polyps {name} mDice").paper == repeated


def test_latex_is_balanced_and_escaped():
    assert escape("50 % of a_b & c\u00b1d \\ {x} #1") == (r"50 \% of a\_b \& c$\pm$d \textbackslash{} \{x\} \#1")
    for table in build([polyp_run(), polyp_run("real", dice=0.7)]).values():
        text = render_latex(table)
        assert text.isascii()
        assert not re.search(r"(?<!\\)[%#_]", text.replace(r"\label{tab:paper-", ""))
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        body = text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
        widths = {line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")}
        assert widths == {len(text_table(table).columns) - 1}


@pytest.mark.parametrize("key", read_paper().tables)
def test_every_table_adds_up(key):
    facts = read_paper().tables[key]
    columns = {column.name for column in facts.flat()} | set(facts.settings)
    for row in facts.rows:
        assert len(row.printed) == len(facts.flat())
        assert tuple(row.settings) == facts.settings
        for at in facts.columns:  # the row or its columns name the architecture, and not both
            assert at.images or (row.architecture is None) != (at.architecture is None)
    for note in facts.footnotes:
        assert set(note.cells) <= {row.name for row in facts.rows}
        assert {name for cells in note.cells.values() for name in cells} <= columns


def test_opinions_of_raters_stand_in_table_1():
    first = build(scores=[scored(mos=0.6, mos_confidence=7.0), scored("controlnet", mos=None)])["table1"]
    assert cell(first, "Ours", "MOS").difference == pytest.approx(0.6 - 0.587)
    assert cell(first, "Ours", "MOS confidence").ours.mean == 7.0
    assert cell(first, "ControlNet", "MOS").reason == NO_RATERS


def test_nothing_is_written_for_other_data_sets_and_everything_for_the_papers(tmp_path):
    run = polyp_run("siamese", "random", architecture="segformer")
    run = Run(run.key, {"mDice_classavg": 0.88, "mIoU_classavg": 0.83}, run.details)
    presets = {"figure7": [preset([run.key])]}
    assert paper_tables([run], [], Grid((RunKey("phantom", "unet", "real", "real", 1, 0),)), presets) == []
    write_paper(tmp_path / "none", [], Looks())
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["README.md"]
    tables = paper_tables([run], [], Grid((run.key,)), presets)
    assert [table.key for table in tables if table.asked] == ["figure7"]
    write_paper(tmp_path / "paper", tables, Looks())
    keys = [*(f"table{n}" for n in range(1, 7)), "figure7"]
    wanted = {f"{key}.{kind}" for key in keys for kind in ("md", "csv", "tex")} | {"README.md"}
    assert {path.name for path in (tmp_path / "paper").iterdir()} == wanted | {"figure7.png", "figure7.svg"}
