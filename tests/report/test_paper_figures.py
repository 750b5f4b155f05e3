"""The paper's figures show the same masks in every column, the curves and stars that they should, in the same bytes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from data.drawing import GAP_PX, HEADER_PX, enlarged, enlarged_mask, rgb
from data.pairs.files import write_json, write_text
from data.pairs.manifest import Pair, PairSet
from evaluation.figures.curves import Losses, loss_figure
from evaluation.figures.plots import Looks
from evaluation.figures.sheets import method_grid
from evaluation.page.page import write_report
from evaluation.paper.facts import read_paper
from evaluation.paper.pages import volume_figure
from evaluation.paper.tables import paper_tables
from evaluation.paper.values import Preset
from evaluation.results.results import Grid, Run, RunKey
from tests.report.conftest import pair_set
from tests.report.test_page import Page, report_of

CELL = 96
SIZES = {name: n for name, (n,) in read_paper().sizes["polyps"].items() if name != "train"}


@pytest.fixture
def methods(tree, tmp_path):
    """Return real pairs and two sets made for the same masks, in other images."""
    real, first = tree.samples["phantom", "siamese", "random"]
    rows = [Pair(p.id, "", "", "train", "controlnet", parent=p.parent) for p in first.pairs]
    second = pair_set(tmp_path / "second", rows, np.random.default_rng(5))
    same = tuple(
        replace(p, mask=f"../synthetic/{q.mask}", mask_sha256=q.mask_sha256)
        for p, q in zip(second.pairs, first.pairs, strict=True)
    )
    return real, {"controlnet": PairSet(second.folder, same), "siamese": first}


def test_a_column_is_one_mask_in_every_set_and_its_real_image_first(methods, tmp_path):
    real, sets = methods
    assert method_grid(real, sets, tmp_path / "a.png", columns=3)
    sheet, step = np.asarray(Image.open(tmp_path / "a.png")), CELL + GAP_PX
    for column, pick in enumerate((0, 6, 11), 1):
        for row, one in enumerate((real, *sets.values())):
            pair = one.pairs[pick]
            top, left = GAP_PX + row * step, GAP_PX + column * step
            seen = sheet[top : top + CELL, left : left + CELL]
            mask = enlarged_mask(one.mask(pair), CELL).astype(np.uint8)
            edge_px = cv2.distanceTransform(mask, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
            assert np.array_equal(seen[edge_px > 5], enlarged(one.image(pair), CELL)[edge_px > 5])
            assert (seen == rgb("mask")).all(2).sum() > 50
    assert (sheet[-HEADER_PX:] == rgb("mask")).all(2).any()  # the legend


def test_sets_without_a_mask_in_common_are_not_drawn(methods, tmp_path):
    real, sets = methods
    other = PairSet(real.folder, tuple(replace(pair, mask_sha256="0") for pair in sets["siamese"].pairs))
    assert not method_grid(real, {"a": sets["siamese"], "b": other}, tmp_path / "a.png")
    assert not method_grid(real, {}, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def figure_7(kind="folder", masks=("real", "random"), multiples=(1, 2, 3, 4)):
    """Return the table of Figure 7 with made-up results."""
    runs = []
    for seed in (0, 1):
        places = [("real", "real", 1), *(("siamese", m, x) for m in masks for x in multiples)]
        for source, mask, multiple in places:
            value = 0.8 + 0.01 * multiple + 0.001 * seed
            key = RunKey("polyps", "segformer", source, mask, multiple, seed)
            found = {"mDice_classavg": value, "mIoU_classavg": value - 0.05}
            details = {"test_sets": {name: {"n": n} for name, n in SIZES.items()}, "settings": {}}
            runs.append(Run(key, found, details))
    grid = Grid(tuple(run.key for run in runs))
    return paper_tables(runs, [], grid, {"figure7": [Preset("p", grid, {}, {"polyps": kind})]})[-1]


def drawn(table, monkeypatch, tmp_path):
    """Return the panels that volume_figure draws."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: (figures.append(self), save(self, *args, **more))
    )
    volume_figure(table, Looks(), tmp_path / "f")
    return figures[0].axes


def test_figure_7_has_both_masks_the_baseline_and_the_papers_peak(monkeypatch, tmp_path):
    dice, iou = drawn(figure_7(), monkeypatch, tmp_path)
    lines = {line.get_label(): line for line in dice.get_lines()}
    curves = [container[0] for container in dice.containers]
    assert [list(curve.get_xdata()) for curve in curves] == [[0, 1, 2, 3, 4]] * 2
    assert list(curves[1].get_ydata()) == pytest.approx([81.05, 81.05, 82.05, 83.05, 84.05])
    assert list(lines["real pairs only"].get_ydata()) == pytest.approx([81.05] * 2)
    stars = [line for line in (*dice.get_lines(), *iou.get_lines()) if line.get_marker() == "*"]
    assert [(list(star.get_xdata()), list(star.get_ydata())) for star in stars] == [([3], [88.13]), ([3], [83.40])]


def test_the_papers_peak_is_left_out_beside_other_data_and_missing_masks_leave_no_line(monkeypatch, tmp_path):
    dice, _ = drawn(figure_7("phantom", masks=("random",), multiples=(2,)), monkeypatch, tmp_path)
    assert not [line for line in dice.get_lines() if line.get_marker() == "*"]
    assert "left out" in dice.figure.get_suptitle()
    assert [list(container[0].get_xdata()) for container in dice.containers] == [[], [0, 2]]


def test_losses_have_a_panel_for_each_column_that_holds_something(monkeypatch, tmp_path):
    write_text(tmp_path / "a.csv", "step,loss,val_dice,empty,lacking,late\n1,0.5,,,0,0\n2,0.25,0.75,,0,0.5\n")
    write_text(tmp_path / "b.csv", "step,loss,late\n1,1,0\n")
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **more: figures.append(self))
    curves = [Losses(name, tmp_path / f"{name}.csv", name) for name in ("a", "b")]
    loss_figure(curves, Looks(), tmp_path / "f.svg")
    panels = {
        panel.get_title(): [line.get_xydata().tolist() for line in panel.get_lines()] for panel in figures[0].axes
    }
    late = [[[1, 0], [2, 0.5]]]  # of a term that begins later; one that is always 0 is none of the method
    assert panels == {"loss": [[[1, 0.5], [2, 0.25]], [[1, 1]]], "val_dice": [[[2, 0.75]]], "late": late}


@pytest.mark.heavy
def test_figures_are_the_same_bytes_twice(methods, tmp_path):
    write_text(tmp_path / "a.csv", "step,loss\n1,0.5\n2,0.25\n")
    for name in ("a", "b"):
        volume_figure(figure_7(), Looks(), tmp_path / name / "seven")
        loss_figure([Losses("first", tmp_path / "a.csv", "siamese")], Looks(), tmp_path / name / "loss.svg")
        assert method_grid(*methods, tmp_path / name / "grid.png")
    for name in ("seven.png", "seven.svg", "loss.svg", "grid.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert (
        b"matplotlib.org"
        not in (tmp_path / "a/seven.svg").read_bytes().split(b"<svg")[1].split(b"<defs>")[0].lower()[:400]
    )


@pytest.mark.heavy
def test_the_report_shows_the_paper_only_for_its_data_sets(tree, tmp_path):
    write_report(report_of(tree.root, tree.grid(), tree.samples), tmp_path)
    assert "Beside the paper" not in Page((tmp_path / "report.html").read_text()).text
    assert [path.name for path in (tmp_path / "paper").iterdir()] == ["README.md"]
    key = RunKey("polyps", "sanet", "siamese", "real", 1, 0)
    details = {"test_sets": {name: {"n": n, "metrics": {"mDice_thr256": 0.8}} for name, n in SIZES.items()}}
    write_json(tree.path(key), {"mDice_thr256": 0.8, "mDice": 0.7, "mIoU": 0.6})
    write_json(tree.root / "details/segmentation/polyps/sanet/siamese-real-x1-s0.json", details | {"settings": {}})
    write_text(tmp_path / "loss.csv", "step,loss\n1,0.5\n2,0.25\n")
    losses = {("polyps", "generators"): [Losses("siamese", tmp_path / "loss.csv", "siamese")]}
    Image.new("RGB", (4, 4)).save(tmp_path / "samples.png")
    trained = {"polyps": {"siamese": tmp_path / "samples.png"}}
    grid = Grid((*tree.grid().runs, key))
    presets = {"table2": [Preset("presets/paper-table2.yaml", grid, {}, {"polyps": "folder"})]}
    write_report(report_of(tree.root, grid, tree.samples, losses=losses, trained=trained, presets=presets), tmp_path)
    text = Page((tmp_path / "report.html").read_text()).text
    assert (
        text.index("Scores of the synthetic images") < text.index("sanet on polyps") < text.index("Paper: as printed")
    )
    assert "Table 2: Segmenters trained on real and synthetic polyps" in text
    assert "Table 4" not in text
    assert "Losses: generators" in text
    assert "siamese while it was trained" in text
    assert (tmp_path / "paper/table4.md").is_file()
    assert (tmp_path / "figures/polyps/losses-generators.svg").is_file()


@pytest.mark.heavy
def test_generators_on_the_same_masks_are_drawn_together(tree, methods, tmp_path):
    real, sets = methods
    samples = {("phantom", name, "random"): (real, pairs) for name, pairs in sets.items()}
    write_report(report_of(tree.root, tree.grid(), samples), tmp_path)
    assert (tmp_path / "figures/phantom/methods-random.png").is_file()
    assert "All generators, random masks" in Page((tmp_path / "report.html").read_text()).text
