"""Testing a segmenter: every image at its own size, without padding, one at a time."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from data.pairs.errors import UserError
from data.pairs.image_io import write_image, write_mask
from data.pairs.manifest import Pair, PairSet, complete, write_manifest
from segmentation.measures.evaluate import FLAT, evaluate, measure_set


@pytest.fixture
def odd_pairs(tmp_path) -> PairSet:
    """Two images of different sizes; the second has a frame of padding around its content."""
    folder, pairs = tmp_path / "odd", []
    for number, (height, width, box) in enumerate([(20, 30, ""), (40, 40, "5 8 30 24")]):
        key = f"p{number}"
        image, mask = np.full((height, width, 3), 200, np.uint8), np.zeros((height, width), np.uint8)
        mask[10:16, 8:20] = 1
        image[mask == 0] = 50
        write_image(folder / f"images/{key}.png", image)
        write_mask(folder / f"masks/{key}.png", mask)
        pairs.append(complete(folder, Pair(key, f"images/{key}.png", f"masks/{key}.png", "test", "odd", box=box)))
    return write_manifest(folder, pairs)


def bright(images: np.ndarray) -> np.ndarray:
    """Return a segmenter's answer: lesion where it is bright."""
    return (images[..., 0] > 100).astype(np.float32) * 0.8 + 0.1


def answering(function):
    """Return a segmenter that answers with a function, with the row that evaluation asks it for."""

    class Answering:
        row = SimpleNamespace(stretch_maps=False)
        __call__ = staticmethod(function)

    return Answering()


def test_images_are_seen_one_at_a_time_at_their_own_size(odd_pairs):
    seen = []

    def segmenter(images: np.ndarray) -> np.ndarray:
        seen.append(images.shape)
        return bright(images)

    measures = measure_set(answering(segmenter), odd_pairs)
    assert seen == [(1, 20, 30, 3), (1, 24, 30, 3)]
    assert measures.counts.tolist() == [[72, 0, 0, 528], [72, 0, 0, 648]]
    assert measures.ids == ("p0", "p1")
    assert measures.images["fg_image/dice"].tolist() == [1, 1]


def test_the_answer_can_be_written_and_holds_every_name(odd_pairs, make_pairs):
    result = evaluate(answering(bright), {"odd": odd_pairs, "real": make_pairs(3)})
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["metrics"]) == ["images", *FLAT]
    assert result["metrics"]["images"] == 5
    assert {name: one["n"] for name, one in result["test_sets"].items()} == {"odd": 2, "real": 3}


def test_a_test_set_without_images_is_named(make_pairs):
    with pytest.raises(UserError, match="test set none holds no images"):
        evaluate(answering(bright), {"none": make_pairs(0, "none")})
