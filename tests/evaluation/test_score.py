"""The whole demo profile on drawn pair sets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data.pairs.errors import UserError
from data.pairs.files import write_json
from data.pairs.manifest import PairSet
from evaluation.config import ScoresConfig
from evaluation.loading import load
from evaluation.score import score

CONFIG = ScoresConfig()
FLAT = {
    "demo_swd",
    "demo_fd_rand",
    "demo_fd_rand_sd",
    "demo_kid_rand",
    "demo_kid_rand_sd",
    "mask_fidelity",
    "mask_fidelity_permuted",
    "mask_fidelity_real",
    "n_real",
    "n_synthetic",
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, draw, blur, save) -> dict[str, PairSet]:
    folder = tmp_path_factory.mktemp("sets")
    images, masks = draw(16, 2)
    parents = [f"r{i:03}" for i in range(16)]
    return {
        "real": save(folder / "real", *draw(16, 0), "r"),
        "holdout": save(folder / "holdout", *draw(12, 1), "h"),
        "synthetic": save(folder / "synthetic", blur(images, 1), masks, "s", parents),
        "permuted": save(folder / "permuted", blur(images, 1), np.roll(masks, 5, axis=0), "s", parents),
    }


def test_flat_scores_and_details(sets, judge, tmp_path: Path) -> None:
    flat, details = score(sets["real"], sets["holdout"], sets["synthetic"], CONFIG, judge)
    write_json(tmp_path / "flat.json", flat)
    write_json(tmp_path / "details.json", details)
    assert json.loads((tmp_path / "flat.json").read_text(encoding="utf-8")) == flat
    assert set(flat) == FLAT
    assert flat["n_real"] == flat["n_synthetic"] == 16
    assert flat["mask_fidelity"] > 0.8 > 0.5 > flat["mask_fidelity_permuted"]
    assert flat["mask_fidelity_real"] > 0.85
    assert details["profile"] == "demo"
    assert {"torch", "numpy"} <= set(details["versions"])
    for name in ("demo_swd", "demo_fd_rand", "demo_kid_rand"):
        row = details[name]
        assert row["value"] == flat[name]
        assert row["floor"] < row["value"], "blurred images are further from the real ones than sharp held-out ones"
        assert row["sd"] > 0
        assert row["seeds"] == [0, 1, 2]
        assert (row["n_real"], row["n_synthetic"], row["n_floor"]) == (16, 16, 12)
        assert "not comparable" in row["note"]
    assert details["demo_fd_rand"]["weights"] == "random-init seed 0, 1, 2"
    assert len(set(details["demo_fd_rand"]["values"])) == 3
    assert list(details["demo_swd"]["levels"]) == ["64px", "32px", "16px"]
    for name in ("fid", "kid", "clip_i", "cmmd", "lpips_paired", "mos"):
        assert details[name]["value"] is None
        assert details[name]["reason"]
        assert name not in flat


def test_permuted_masks_change_only_what_looks_at_masks(sets, judge) -> None:
    straight, _ = score(sets["real"], sets["holdout"], sets["synthetic"], CONFIG, judge)
    permuted, _ = score(sets["real"], sets["holdout"], sets["permuted"], CONFIG, judge)
    for name in ("demo_swd", "demo_fd_rand", "demo_kid_rand"):
        assert permuted[name] == straight[name]
    assert permuted["mask_fidelity"] < straight["mask_fidelity"] - 0.3


def test_neither_order_nor_batch_size_matters(sets, judge) -> None:
    straight, _ = score(sets["real"], sets["holdout"], sets["synthetic"], CONFIG, judge)
    backwards = [replace(sets[name], pairs=sets[name].pairs[::-1]) for name in ("real", "holdout", "synthetic")]
    other, _ = score(*backwards, ScoresConfig(batch=5), judge)
    assert other == pytest.approx(straight, rel=1e-4)


def test_sets_are_loaded_in_the_order_of_their_ids(sets) -> None:
    backwards = load({"real": replace(sets["real"], pairs=sets["real"].pairs[::-1])})["real"]
    straight = load({"real": sets["real"]})["real"]
    assert backwards.ids == sorted(backwards.ids)
    np.testing.assert_array_equal(backwards.images, straight.images)
    np.testing.assert_array_equal(backwards.masks, straight.masks)


def test_floor_is_the_score_of_the_held_out_images(sets, judge) -> None:
    _, details = score(sets["real"], sets["holdout"], sets["synthetic"], CONFIG, judge)
    held_out, _ = score(sets["real"], sets["holdout"], sets["holdout"], CONFIG, judge)
    for name in ("demo_swd", "demo_fd_rand", "demo_kid_rand", "mask_fidelity", "mask_fidelity_permuted"):
        assert details[name]["floor"] == held_out[name]


def test_copies_have_no_distance(sets, judge) -> None:
    flat, _ = score(sets["real"], sets["holdout"], sets["real"], CONFIG, judge)
    assert abs(flat["demo_fd_rand"]) < 1e-9
    assert flat["demo_swd"] == 0


def test_one_seed_has_no_spread_and_few_images_no_distance(sets, judge) -> None:
    few = replace(sets["synthetic"], pairs=sets["synthetic"].pairs[:2])
    flat, details = score(sets["real"], sets["holdout"], few, CONFIG, judge)
    assert set(flat) == FLAT
    assert flat["demo_fd_rand"] is flat["demo_fd_rand_sd"] is flat["demo_swd"] is None
    assert "got 16 and 2" in details["demo_kid_rand"]["reason"]
    assert flat["mask_fidelity"] > 0.8
    small = replace(sets["holdout"], pairs=sets["holdout"].pairs[:2])
    flat, details = score(sets["real"], small, sets["synthetic"], ScoresConfig(seeds=(4,)), judge)
    assert flat["demo_fd_rand"] > 0
    assert flat["demo_fd_rand_sd"] is None
    assert details["demo_fd_rand"]["floor"] is None


def test_sets_that_cannot_be_compared_are_named_at_once(sets, judge, draw, save, tmp_path: Path) -> None:
    large = save(tmp_path / "large", *draw(2, 0, size=96), "x")
    empty = PairSet(tmp_path / "none", ())
    with pytest.raises(UserError) as error:
        score(sets["real"], empty, large, CONFIG, judge)
    text = str(error.value)
    assert "none) holds no pairs" in text
    assert "pair x000" in text
    assert "pair x001" in text
    assert "(64, 64)" in text
    (tmp_path / "large/images/x000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="pair x000: is not an image"):
        score(large, sets["holdout"], sets["synthetic"], CONFIG, judge)


@pytest.mark.parametrize(
    "wrong", [{"profile": "auto"}, {"seeds": (1, 1)}, {"seeds": ()}, {"kid_subset_size": 2}, {"batches": 4}]
)
def test_settings_are_strict(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScoresConfig(**wrong)
