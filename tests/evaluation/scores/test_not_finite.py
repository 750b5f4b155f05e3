"""NaN and infinity are named with the image they belong to: never a bare LinAlgError, never a Dice of 0."""

import numpy as np
import pytest

from data.pairs.errors import UserError
from data.pairs.files import write_json
from evaluation.audit.mask_fidelity import mask_fidelity
from evaluation.features.store import Features, read_features, write_features
from segmentation.measures.evaluate import measure


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_is_named_when_it_is_written(tmp_path, bad):
    values = np.ones((3, 4), np.float32)
    values[1, 2] = bad
    with pytest.raises(UserError, match="not finite") as refused:
        write_features(tmp_path / "a.npz", Features(["p1", "p2", "p3"], {"features": values}, {}))
    assert refused.value.problems[0] == "features of p2"
    assert not list(tmp_path.iterdir())


def test_and_when_it_is_read(tmp_path):
    arrays = {"ids": np.array(["p1", "p2"]), "meta": np.array("{}"), "features": np.array([[0.0], [np.nan]])}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match="features of p2"):
        read_features(tmp_path / "a.npz")


@pytest.mark.parametrize("boxed", [False, True])
def test_a_map_of_the_judge_is_named(draw, judge, images_of, boxed):
    images = images_of(*draw(4, 0))

    def broken(batch: np.ndarray) -> np.ndarray:
        maps = judge(batch).copy()
        maps[-1, 0, 0] = np.nan
        return maps

    with pytest.raises(UserError, match="judge's maps") as refused:
        mask_fidelity(images, broken, batch=1 if boxed else 32)
    assert images.ids[0 if boxed else -1] in str(refused.value)


def test_a_map_of_a_segmenter_is_named():
    maps = np.full((2, 8, 8), 0.2, np.float32)
    maps[1, 3, 3] = np.inf
    with pytest.raises(UserError, match="map of second is not finite"):
        measure(maps, np.zeros((2, 8, 8), np.uint8), ["first", "second"])


def test_a_score_is_named(tmp_path):
    with pytest.raises(UserError) as refused:
        write_json(tmp_path / "a.json", {"b": {"c": [1.0, float("nan")]}, "d": float("inf")})
    assert refused.value.problems == ("b.c.1", "d")
