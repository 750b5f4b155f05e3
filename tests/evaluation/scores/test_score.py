"""The scores of lite0 on drawn pair sets, from pictures to numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data.pairs.errors import UserError
from data.pairs.files import sha256_file, write_json
from data.pairs.manifest import PairSet
from data.pairs.prepared import LoneImage, LoneImages
from data.pretrained.lite0 import PACKAGE, SHA256
from evaluation.audit.per_image import inspect_lone
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.features.store import Features, read_features, write_features
from evaluation.scores.audit_scores import COLUMNS
from evaluation.scores.score import score

LITE0 = ScoresConfig(extractors=("lite0",))
SCORES = ("lite0_frechet", "lite0_kernel")


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
    assert {*SCORES, "lite0_kernel_se", "lite0_coverage", "copy_rate", "closer_to_train", "mask_fidelity"} <= set(flat)
    assert flat["n_real"] == flat["n_synthetic"] == 24
    assert flat["mask_fidelity"] > 0.8 > 0.5 > flat["mask_fidelity_permuted"]
    assert flat["mask_fidelity_real"] > 0.85
    assert details["extractors"] == ["lite0"]
    assert details["holdout"] == "holdout"
    assert {"torch", "timm", PACKAGE} <= set(details["versions"])
    for name in SCORES:
        row = details[name]
        assert row["value"] == flat[name]
        assert row["floor"] < row["value"], "blurred images are further from the real ones than sharp held-out ones"
        assert row["codec"] > 0
        assert (row["n_real"], row["n_synthetic"], row["n_floor"]) == (24, 24, 22)
        assert "Not FID, not KID" in row["note"]
        assert row["weights"] == f"lite0 {SHA256}"
    assert details["lite0_kernel"]["se"] == flat["lite0_kernel_se"] > 0
    held_out = details["lite0_kernel_heldout"]
    assert (held_out["n_real"], held_out["n_synthetic"], held_out["n_floor"]) == (22, 24, 24)
    assert held_out["floor"] == pytest.approx(details["lite0_kernel"]["floor"])
    assert flat["lite0_kernel_heldout"] > held_out["floor"]
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
    for name in (*SCORES, "lite0_density", "copy_rate"):
        assert permuted[name] == scored.flat[name]
    assert permuted["mask_fidelity"] < scored.flat["mask_fidelity"] - 0.3


@pytest.mark.heavy
def test_neither_order_nor_batch_size_matters(scored, sets, measure) -> None:
    backwards = [replace(sets[name], pairs=sets[name].pairs[::-1]) for name in ("real", "holdout")]
    other = measure(*backwards, sets["synthetic"], how=FeaturesConfig(batch=5)).flat
    assert {name: other[name] for name in SCORES} == pytest.approx(
        {name: scored.flat[name] for name in SCORES}, rel=1e-9
    )


@pytest.mark.heavy
def test_floor_is_the_score_of_the_held_out_images(scored, sets, measure) -> None:
    held_out = measure(sets["real"], sets["holdout"], sets["holdout"]).flat
    for name in (*SCORES, "mask_fidelity", "mask_fidelity_permuted"):
        assert scored.details[name]["floor"] == pytest.approx(held_out[name], rel=1e-6)


@pytest.mark.heavy
def test_copies_have_no_distance_and_are_copies(sets, measure) -> None:
    found = measure(sets["real"], sets["holdout"], sets["copies"])
    assert abs(found.flat["lite0_frechet"]) < 1e-9 * found.details["lite0_frechet"]["floor"]
    assert found.flat["lite0_kernel"] < 0, "unbiased: the diagonal of the cross kernel stays"
    alike = ("lite0_precision", "lite0_recall", "lite0_coverage")
    for name in (*alike, "copy_rate", "copy_rate_parent", "self_retrieval"):
        assert found.flat[name] == 1, name
    assert found.flat["copy_rate_other"] == 0
    held_out = found.details["lite0_kernel_heldout"]
    assert held_out["value"] == pytest.approx(held_out["floor"]), (
        "copies are as far from held-out images as the originals"
    )


@pytest.mark.heavy
def test_few_images_have_no_distance(sets, measure) -> None:
    few = replace(sets["synthetic"], pairs=sets["synthetic"].pairs[:2])
    found = measure(sets["real"], sets["holdout"], few)
    assert found.flat["lite0_frechet"] is found.flat["lite0_kernel"] is found.flat["lite0_kernel_se"] is None
    assert "got 24 and 2" in found.details["lite0_kernel"]["reason"]
    assert found.flat["mask_fidelity"] > 0.8
    small = replace(sets["holdout"], pairs=sets["holdout"].pairs[:2])
    found = measure(sets["real"], small, sets["synthetic"])
    assert found.flat["lite0_kernel_heldout"] is None
    assert "held-out real images, got 2" in found.details["lite0_kernel_heldout"]["reason"]
    assert found.flat["lite0_frechet"] > 0
    assert found.details["lite0_frechet"]["floor"] is None
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
    part = Features(["a"], {"features": np.zeros((1, 4))}, {"weights": {}})
    other = Features(["b"], {}, {})
    with pytest.raises(UserError, match="lite0, synthetic: other images"):
        score({"lite0": {"synthetic": part}}, {"synthetic": other}, LITE0)


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
    "wrong", [{"extractors": ("auto",)}, {"extractors": ()}, {"extractors": ("lite0", "lite0")}, {"kid_subset_size": 2}]
)
def test_score_settings_are_strict(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScoresConfig(**{"extractors": ("lite0",), **wrong})


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"seeds": (0,)}, {"batches": 4}])
def test_feature_settings_are_strict(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeaturesConfig(**wrong)


@pytest.mark.heavy
def test_copies_of_images_without_masks_are_counted_beside_the_others(sets, measure, tmp_path: Path) -> None:
    """Copies of these are none of the labelled images; without such images the score is not there."""
    pool = LoneImages(sets["copies"].folder, tuple(LoneImage(p.id, p.image, "", "", "") for p in sets["copies"].pairs))
    parts = {"unlabelled": inspect_lone(pool, batch=7)}
    real = sets["holdout"], sets["permuted"]
    fresh, copied = (measure(*real, sets[name], further=parts) for name in ("synthetic", "copies"))
    assert copied.flat["copy_rate_unlabelled"] == 1
    assert copied.flat["copy_rate"] < 0.2
    assert fresh.flat["copy_rate_unlabelled"] < 0.2
    assert copied.flat["self_retrieval_unlabelled"] == 1
    assert "self_retrieval_unlabelled" not in fresh.flat
    entry = copied.details["copy_rate_unlabelled"]
    assert entry["definition"].startswith("Against the images without masks")
    assert entry["n_real"] == len(pool)
    assert "copy_rate_unlabelled" not in measure(sets["real"], sets["holdout"], sets["synthetic"]).flat
