"""Nothing is painted into the padding of an image without a lesion, and a pair has the padding of its image."""

import numpy as np
import pytest

from data.pairs.assemble import write_synthetic
from data.pairs.errors import UserError
from data.pairs.image_io import write_image
from data.pairs.manifest import PairSet, read_pairs
from siamese.config.sections import NEEDS
from siamese.sampling.requests import Pools, around, requests_for
from tests.data.masks.sets import blobs, write_set

WIDE, TALL = "0 12 48 24", "12 0 24 48"


def lesion(top: int, left: int) -> np.ndarray:
    labels = np.zeros((48, 48), np.uint8)
    labels[top : top + 6, left : left + 6] = 1
    return labels


@pytest.fixture
def pool(tmp_path):
    wide = write_set(tmp_path / "wide", {f"w{number}": blobs() * 0 for number in range(3)}, box=WIDE)
    tall = write_set(tmp_path / "tall", {f"t{number}": blobs() * 0 for number in range(3)}, box=TALL)
    return wide, tall


def test_a_lesion_lies_in_the_content_of_its_image(pool):
    wide, tall = pool
    both = PairSet(wide.folder, (*wide.pairs, *tall.pairs))
    assert {pair.box for pair in around(lesion(20, 2), both, "m")} == {WIDE}
    assert {pair.box for pair in around(lesion(2, 20), both, "m")} == {TALL}
    assert around(lesion(20, 20), both, "m") == list(both.pairs)
    assert around(lesion(0, 0) * 0, both, "m") == both.pairs
    with pytest.raises(UserError, match="mask m lies in the padding of all 3"):
        around(lesion(7, 20), wide, "m")
    assert len(around(lesion(12, 0), wide, "m")) == 3


def test_a_pair_has_the_padding_of_its_image(pool, tmp_path):
    wide, _ = pool
    masks = write_set(tmp_path / "masks", {"a": lesion(20, 20), "b": lesion(14, 2)}, box=TALL)
    drawn = requests_for(masks, masks.pairs, NEEDS["anomaly_diffusion"], 0, Pools(normal=wide), {}, 1)
    assert [text["box"] for _, text in drawn] == [WIDE, WIDE]
    for request, text in drawn:
        write_image(tmp_path / f"drawn/{request.id}.png", np.zeros((48, 48, 3), np.uint8), text)
    write_synthetic([masks], [tmp_path / "drawn"], "anomaly", tmp_path / "x1")
    assert {pair.box for pair in read_pairs(tmp_path / "x1").pairs} == {WIDE}
    plain = requests_for(wide, wide.pairs, NEEDS["anomaly_diffusion"], 0, Pools(normal=wide), {}, 1)
    assert not any("box" in text for _, text in plain)
