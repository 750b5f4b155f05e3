"""The report is one sound page that needs nothing else, and everything beside it is written whole."""

import base64
import csv
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree, write_json, write_text
from data.pairs.image_io import write_image
from evaluation.page.page import render_report, write_report
from evaluation.page.pictures import MOST_PX, Picture
from evaluation.page.report import Report
from evaluation.results.results import Grid, RunKey, read_runs, read_scores

VOID = {"meta", "img", "br", "hr", "link", "input"}
PROVENANCE = {"Git commit": "abc123", "Data set ph2": "PH2 <research> & education, https://example.org/licence"}


class Page(HTMLParser):
    """Collects text and links, and fails on tags that do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.links, self.ids, self.tags, self.text = [], [], [], [], ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def report_of(root, grid, samples=(), **more):
    """Return the report of the results under a folder, as the stage reads them."""
    return Report(read_runs(root), read_scores(root), grid, dict(samples), **more)


def page_of(tree, grid, pictures=(), provenance=PROVENANCE):
    """Return the page and what a reader of it finds."""
    page = render_report(report_of(tree.root, grid, provenance=provenance), pictures)
    return page, Page(page)


def test_the_page_is_sound_and_asks_for_nothing(tree, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    page, read = page_of(tree, tree.grid(), [Picture("phantom", "pairs", "siamese", tmp_path / "a.png")])
    assert page.startswith("<!doctype html>")
    assert "script" not in read.tags
    assert "link" not in read.tags
    (picture,) = (link for link in read.links if not link.startswith("#"))
    assert picture.startswith("data:image/jpeg;base64,")
    assert "url(" not in page
    assert "@import" not in page


def test_the_contents_lead_to_every_section(tree):
    _, read = page_of(tree, tree.grid())
    assert len(read.ids) == len(set(read.ids))
    assert sorted(link.removeprefix("#") for link in read.links) == sorted(read.ids)
    assert {"results-ph2", "scores-ph2", "what", "mind", "from"} < {*read.ids}


def test_an_image_is_no_larger_than_it_is_shown(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 2 * MOST_PX, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", noise)
    uri = Picture("d", "pairs", "a", tmp_path / "a.png").uri
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as shown:
        assert shown.size == (MOST_PX, 100)
    assert len(uri) < (tmp_path / "a.png").stat().st_size / 5


def test_text_is_escaped(tree):
    page, read = page_of(tree, tree.grid())
    assert "<research>" not in page
    assert "PH2 <research> & education, https://example.org/licence" in read.text
    assert "too few images for <this> score" in read.text
    assert "this" not in read.tags


def test_the_verdict_comes_first_and_one_seed_is_no_evidence(tree):
    _, read = page_of(tree, tree.grid())
    assert read.text.index("Higher than both baselines in each of 3 seeds") < read.text.index("A generator learns")
    _, read = page_of(tree, tree.grid(seeds=[0]))
    assert "Higher than both baselines" not in read.text
    assert read.text.count("No evidence either way: one seed") == 4
    assert "Fewer than three seeds" in read.text


def test_missing_runs_are_counted_and_earlier_ones_stand_apart(tree):
    absent = RunKey("phantom", "unet", "siamese", "real", 9, 0)
    wanted = Grid((*(key for key in tree.grid().runs if key.dataset == "phantom"), absent))
    _, read = page_of(tree, wanted)
    assert "60 of 61 asked-for" in read.text
    before, after = read.text.split("Earlier runs")
    assert "ph2" not in before
    assert after.count("siamese, random masks, \u00d72") == 2
    assert "Earlier runs" not in page_of(tree, tree.grid())[1].text


def test_scores_come_with_what_they_are_floors_and_reasons(tree):
    _, read = page_of(tree, tree.grid())
    assert "not comparable with the paper's Table 1" in read.text
    assert "0.375" in read.text
    assert "\u00b1 0.125" in read.text
    assert "\u00b1: standard error" in read.text
    assert "Not computed: fid" in read.text
    assert "needs weights: scores.profile: full" in read.text


def test_scores_without_details_still_say_what_they_are(tree):
    for path in sorted((tree.root / "details").rglob("*.json")):
        path.unlink()
    _, read = page_of(tree, tree.grid())
    assert "Frechet distance between features of EfficientNet-Lite0" in read.text
    assert "Not computed: kid" in read.text
    assert "no reason was recorded" in read.text


def test_a_reason_names_the_set_where_others_have_the_value(tree):
    path = tree.root / "details/scores/phantom/siamese-real.json"
    flat = tree.scores["phantom", "siamese", "real"] | {"lite0_frechet": None}
    write_json(tree.root / "scores/phantom/siamese-real.json", flat)
    write_json(path, {"lite0_frechet": {"value": None, "reason": "images too small"}})
    _, read = page_of(tree, tree.grid())
    assert "Not computed: lite0_frechet of siamese, real masks" in read.text


def test_a_page_of_nothing_yet(tmp_path):
    grid = Grid((RunKey("d", "unet", "real", "real", 1, 0), RunKey("d", "unet", "s", "real", 1, 0)))
    write_report(report_of(tmp_path, grid), tmp_path / "out")
    read = Page((tmp_path / "out/report.html").read_text())
    assert "Nothing to compare yet" in read.text
    assert "0 of 2 asked-for" in read.text
    assert (tmp_path / "out/plots").is_dir()
    assert (tmp_path / "out/figures").is_dir()


@pytest.mark.heavy
def test_everything_is_written_and_twice_the_same(tree, tmp_path):
    digests = []
    pictured = {"phantom": tmp_path / "pictures"}
    for name in ("tsne", "copies-siamese-random"):
        write_image(tmp_path / f"pictures/{name}.png", np.zeros((4, 4, 3), np.uint8))
    for name in ("a", "b"):
        report = report_of(tree.root, tree.grid(), tree.samples, pictured=pictured, provenance=PROVENANCE)
        write_report(report, tmp_path / name)
        digests.append(sha256_tree(tmp_path / name))
    assert digests[0] == digests[1]
    out = tmp_path / "a"
    assert {path.name for path in (out / "tables").iterdir()} == {
        "README.md",
        *(
            f"{name}{end}"
            for name in ("phantom", "ph2")
            for end in (".md", ".csv", "-scores.csv", "-conventions.md", "-tests.md", "-tests.csv")
        ),
    }
    assert {path.relative_to(out / "figures").as_posix() for path in (out / "figures").rglob("*.png")} == {
        "phantom/siamese-random.png",
        "phantom/methods-random.png",
    }
    page = (out / "report.html").read_text()
    assert {path.relative_to(out / "figures").as_posix() for path in (out / "figures").rglob("*.svg")} == {
        "phantom/volume.svg",
        "ph2/volume.svg",
    }
    assert page.index("Features of real and synthetic images") < page.index("What looks most like a copy")
    assert page.index("What looks most like a copy") < page.index("<figcaption>siamese-random.</figcaption>")
    with (out / "plots/ph2/unet/controlnet-wc05-random.csv").open(newline="") as file:
        assert [row["multiple"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    links = [link for link in Page(page).links if not link.startswith("#")]
    assert len(links) == 6
    assert all(link.startswith(("data:image/jpeg;base64,", "data:image/svg+xml;base64,")) for link in links)
    assert len(page) < 800_000


@pytest.mark.heavy
def test_folders_are_replaced_whole(tree, tmp_path):
    stale = tmp_path / "out/tables/gone.md"
    write_text(stale, "old")
    write_report(report_of(tree.root, tree.grid()), tmp_path / "out")
    assert not stale.exists()
    assert (tmp_path / "out/tables/phantom.md").is_file()


def test_damaged_results_leave_the_old_report_alone(tree, tmp_path):
    kept = tmp_path / "out/tables/phantom.md"
    write_text(kept, "old")
    write_text(tree.path(next(iter(tree.runs))), "{")
    with pytest.raises(UserError, match="1 result files cannot be used"):
        write_report(report_of(tree.root, tree.grid()), tmp_path / "out")
    assert kept.read_text() == "old"
