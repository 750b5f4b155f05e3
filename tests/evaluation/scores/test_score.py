"""The whole demo profile on drawn pair sets, from pictures to scores."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data.pairs.errors import UserError
from data.pairs.files import sha256_file, write_json
from data.pairs.manifest import PairSet
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.features.store import Features, read_features, write_features
from evaluation.scores.audit_scores import COLUMNS
from evaluation.scores.score import score

DEMO = ScoresConfig(extractors=("demo",))
SCORES = ("demo_swd", "demo_fd_rand", "demo_kid_rand")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, draw, blur, save) -> dict[str, PairSet]:
    folder = tmp_path_factory.mktemp("sets")
    images, masks = draw(24, 2)
    parents = [f"r{i:03}" for i in range(24)]
    return {
        "real": save(folder / "real", *draw(24, 0), "r"),
        "holdout": save(folder / "holdout", *draw(22, 1), "h"),
        "synthetic": save(folder / "synthetic", blur(images, 1), masks, "s", parents),
        "permuted": save(folder / "permuted", blur(images, 1), np.roll(masks, 5, axis=0), "s", parents),
        "copies": save(folder / "copies", *draw(24, 0), "c", parents),
    }


@pytest.fixture(scope="module")
def scored(sets, measure):
    return measure(sets["real"], sets["holdout"], sets["synthetic"])


@pytest.mark.heavy
def test_flat_scores_and_details(scored, tmp_path: Path) -> None:
    flat, details, _ = scored
    write_json(tmp_path / "flat.json", flat)
    write_json(tmp_path / "details.json", details)
    assert json.loads((tmp_path / "flat.json").read_text(encoding="utf-8")) == flat
    assert {*SCORES, "demo_fd_rand_sd", "demo_coverage", "copy_rate", "closer_to_train", "mask_fidelity"} <= set(flat)
    assert flat["n_real"] == flat["n_synthetic"] == 24
    assert flat["mask_fidelity"] > 0.8 > 0.5 > flat["mask_fidelity_permuted"]
    assert flat["mask_fidelity_real"] > 0.85
    assert details["extractors"] == ["demo"]
    assert details["holdout"] == "holdout"
    assert {"torch", "numpy"} <= set(details["versions"])
    for name in SCORES:
        row = details[name]
        assert row["value"] == flat[name]
        assert row["floor"] < row["value"], "blurred images are further from the real ones than sharp held-out ones"
        assert row["codec"] > 0
        assert row["sd"] > 0
        assert row["seeds"] == [0, 1, 2]
        assert (row["n_real"], row["n_synthetic"], row["n_floor"]) == (24, 24, 22)
        assert "not comparable" in row["note"]
    assert details["demo_fd_rand"]["weights"] == "random-init seed 0, 1, 2"
    assert len(set(details["demo_fd_rand"]["values"])) == 3
    assert list(details["demo_swd"]["levels"]) == ["64px", "32px", "16px"]
    for name in ("fid", "kid", "clip_i", "cmmd", "lpips_paired", "mos"):
        assert details[name]["value"] is None
        assert details[name]["reason"]
        assert name not in flat


def test_every_null_has_a_reason(scored) -> None:
    entries = [row for row in scored.details.values() if isinstance(row, dict) and "value" in row]
    assert len(entries) > 20
    assert all(row["reason"] for row in entries if row["value"] is None)
    assert all(row["definition"] for row in entries)


def test_one_row_an_image(scored, sets) -> None:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in scored.images]
    assert [row["id"] for row in rows] == [pair.id for pair in sets["synthetic"].pairs]
    assert np.mean([row["mask_fidelity"] for row in rows]) == pytest.approx(scored.flat["mask_fidelity"], abs=1e-6)
    assert np.mean([row["copy"] for row in rows]) == pytest.approx(scored.flat["copy_rate"])
    assert {row["nearest"] for row in rows} <= {pair.id for pair in sets["real"].pairs}


@pytest.mark.heavy
def test_permuted_masks_change_only_what_looks_at_masks(scored, sets, measure) -> None:
    permuted = measure(sets["real"], sets["holdout"], sets["permuted"]).flat
    for name in (*SCORES, "demo_density", "copy_rate"):
        assert permuted[name] == scored.flat[name]
    assert permuted["mask_fidelity"] < scored.flat["mask_fidelity"] - 0.3


@pytest.mark.heavy
def test_neither_order_nor_batch_size_matters(scored, sets, measure) -> None:
    backwards = [replace(sets[name], pairs=sets[name].pairs[::-1]) for name in ("real", "holdout")]
    other = measure(*backwards, sets["synthetic"], how=FeaturesConfig(batch=5)).flat
    assert {name: other[name] for name in SCORES} == pytest.approx(
        {name: scored.flat[name] for name in SCORES}, rel=1e-3
    )


@pytest.mark.heavy
def test_floor_is_the_score_of_the_held_out_images(scored, sets, measure) -> None:
    held_out = measure(sets["real"], sets["holdout"], sets["holdout"]).flat
    for name in (*SCORES, "mask_fidelity", "mask_fidelity_permuted"):
        assert scored.details[name]["floor"] == pytest.approx(held_out[name], rel=1e-6)


@pytest.mark.heavy
def test_copies_have_no_distance_and_are_copies(sets, measure) -> None:
    found = measure(sets["real"], sets["holdout"], sets["copies"])
    assert abs(found.flat["demo_fd_rand"]) < 1e-9
    assert found.flat["demo_swd"] < found.details["demo_swd"]["floor"], "not 0: the patches follow from the id"
    for name in ("demo_precision", "demo_recall", "demo_coverage", "copy_rate", "copy_rate_parent", "self_retrieval"):
        assert found.flat[name] == 1, name
    assert found.flat["copy_rate_other"] == 0


@pytest.mark.heavy
def test_one_seed_has_no_spread_and_few_images_no_distance(sets, measure) -> None:
    few = replace(sets["synthetic"], pairs=sets["synthetic"].pairs[:2])
    found = measure(sets["real"], sets["holdout"], few)
    assert found.flat["demo_fd_rand"] is found.flat["demo_fd_rand_sd"] is found.flat["demo_swd"] is None
    assert "got 24 and 2" in found.details["demo_kid_rand"]["reason"]
    assert found.flat["mask_fidelity"] > 0.8
    small = replace(sets["holdout"], pairs=sets["holdout"].pairs[:2])
    found = measure(sets["real"], small, sets["synthetic"], how=FeaturesConfig(seeds=(4,)))
    assert found.flat["demo_fd_rand"] > 0
    assert found.flat["demo_fd_rand_sd"] is None
    assert found.details["demo_fd_rand"]["floor"] is None
    assert found.flat["copy_rate"] is None
    assert "held-out" in found.details["copy_rate"]["reason"]


def test_sets_that_cannot_be_compared_are_named_at_once(sets, measure, draw, save, tmp_path: Path) -> None:
    large = save(tmp_path / "large", *draw(2, 0, size=96), "x")
    with pytest.raises(UserError) as error:
        measure(sets["real"], PairSet(tmp_path / "none", ()), large)
    text = str(error.value)
    for part in ("none) holds no pairs", "x000.png", "x001.png", "is 96 x 96 px", "64 x 64"):
        assert part in text
    (tmp_path / "large/images/x000.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"x000\.png: cannot identify image"):
        measure(large, sets["holdout"], sets["synthetic"])


def test_features_of_other_images_are_refused(sets, measure, scored) -> None:
    part = Features(["a"], {"features_0": np.zeros((1, 4))}, {"weights": {}})
    other = Features(["b"], {}, {})
    with pytest.raises(UserError, match="demo, synthetic: other images"):
        score({"demo": {"synthetic": part}}, {"synthetic": other}, DEMO)


def test_features_on_disk_have_no_clock_and_damage_is_told(tmp_path: Path) -> None:
    written = Features(["a", "b"], {"features": np.eye(2, dtype=np.float32)}, {"weights": {"x": "1"}})
    write_features(tmp_path / "one/f.npz", written)
    write_features(tmp_path / "two/f.npz", written)
    assert sha256_file(tmp_path / "one/f.npz") == sha256_file(tmp_path / "two/f.npz")
    read = read_features(tmp_path / "one/f.npz")
    assert (read.ids, read.meta) == (written.ids, written.meta)
    np.testing.assert_array_equal(read["features"], written["features"])
    (tmp_path / "one/f.npz").write_bytes((tmp_path / "one/f.npz").read_bytes()[:100])
    with pytest.raises(UserError, match="holds no features"):
        read_features(tmp_path / "one/f.npz")


@pytest.mark.parametrize(
    "wrong", [{"extractors": ("auto",)}, {"extractors": ()}, {"extractors": ("demo", "demo")}, {"kid_subset_size": 2}]
)
def test_score_settings_are_strict(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScoresConfig(**{"extractors": ("demo",), **wrong})


@pytest.mark.parametrize("wrong", [{"seeds": (1, 1)}, {"seeds": ()}, {"batches": 4}])
def test_feature_settings_are_strict(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeaturesConfig(**wrong)
