"""Result files are read back under the names that the stages gave them."""

import pytest

from data.pairs.errors import UserError
from data.pairs.files import write_json, write_text
from evaluation.results.results import Grid, RunKey, read_runs, read_scores


def test_every_run_is_read_with_its_numbers(tree):
    runs = read_runs(tree.root)
    assert {run.key: run.metrics for run in runs} == tree.runs
    assert [run.key for run in runs] == sorted(tree.runs)


def test_every_score_is_read_with_its_details(tree):
    found = {(one.dataset, one.source, one.masks): one for one in read_scores(tree.root)}
    assert {key: one.metrics for key, one in found.items()} == tree.scores
    assert found["phantom", "controlnet-wc05", "real"].details["lite0_kernel"]["floor"] == 0.375


@pytest.mark.parametrize(
    ("name", "source", "masks", "multiple", "seed"),
    [
        ("real-real-x1-s0", "real", "real", 1, 0),
        ("controlnet-wc05-random-x12-s34", "controlnet-wc05", "random", 12, 34),
        ("a-x2-s3-real-x1-s0", "a-x2-s3", "real", 1, 0),
    ],
)
def test_names_are_read_from_the_right(tmp_path, name, source, masks, multiple, seed):
    write_json(tmp_path / "segmentation/d/a" / f"{name}.json", {"mDice": 0.5})
    write_json(tmp_path / "details/segmentation/d/a" / f"{name}.json", {"test_sets": {"test": {"n": 3}}})
    (run,) = read_runs(tmp_path)
    assert run.key == RunKey("d", "a", source, masks, multiple, seed)
    assert run.details == {"test_sets": {"test": {"n": 3}}}


def test_nothing_on_disk_is_nothing_read(tmp_path):
    assert read_runs(tmp_path) == []
    assert read_scores(tmp_path) == []


def test_every_damaged_file_is_named_at_once(tree):
    folder = tree.root / "segmentation/phantom/unet"
    write_text(folder / "siamese-real-x1-s0.json", '{"mDice": 0.5')
    write_text(folder / "siamese-real-x1-s1.json", "[0.5]")
    write_text(folder / "siamese-real-x1-s2.json", '{"mDice": NaN, "mIoU": "high", "ok": true, "fine": null}')
    write_text(folder / "siamese.json", "{}")
    with pytest.raises(UserError) as error:
        read_runs(tree.root)
    text = str(error.value)
    assert len(error.value.problems) == 4
    assert all(f"siamese-real-x1-s{seed}.json" in text for seed in range(3))
    assert "siamese.json: its name" in text
    assert "mDice, mIoU, ok: neither" in text


def test_damaged_details_are_named(tree):
    write_text(tree.root / "details/scores/phantom/siamese-real.json", "")
    with pytest.raises(UserError, match=r"details/scores/phantom/siamese-real\.json: is not JSON"):
        read_scores(tree.root)


def test_the_grid_splits_runs_into_asked_for_and_earlier(tree):
    runs = read_runs(tree.root)
    absent = RunKey("phantom", "unet", "siamese", "real", 9, 0)
    grid = Grid((absent, *reversed(tree.grid(seeds=[1]).runs)))
    asked, earlier = grid.asked(runs), grid.earlier(runs)
    assert [run.key for run in asked] == list(grid.runs[1:])
    assert {run.key.seed for run in earlier} == {0, 2}
    assert len(asked) + len(earlier) == len(runs)
    assert grid.architectures("ph2") == ("segformer", "unet")
    assert ("ph2", "real", "real") not in grid.sets()


def test_answers_of_raters_take_the_place_of_the_missing_score(tree):
    row = {"value": 0.4, "definition": "share", "reason": None}
    write_json(tree.root.parent / "ratings/phantom.json", {"sets": {"siamese-real": {"mos": row, "d_prime": row}}})
    found = {(one.dataset, one.source, one.masks): one for one in read_scores(tree.root, tree.root.parent / "ratings")}
    mine = found["phantom", "siamese", "real"]
    assert mine.metrics["mos"] == 0.4
    assert mine.details["mos"] == row
    assert "d_prime" not in mine.details
    assert all("mos" not in one.metrics for key, one in found.items() if key != ("phantom", "siamese", "real"))
