"""Best of k: which draw is kept, that no pair is lost, and what is said of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from data.exports.verify import verify
from data.pairs.image_io import png_text, write_image
from data.pairs.manifest import read_pairs
from evaluation.audit.best_of import best_of, choose, to_nearest
from evaluation.audit.config import FilterRow
from evaluation.audit.filters import write_set
from evaluation.features.config import FeaturesConfig

TOP = np.array([[0.6, 0.96, 0.1, 0.5], [0.7, 0.3, 0.2, 0.95], [0.99, 0.4, 0.0, 0.7]])
FAR = np.array([[0.2, 0.9, 0.1, 0.3], [0.4, 0.1, 0.5, 0.3], [0.9, 0.9, 0.9, 0.2]])


def test_the_farthest_within_the_band_and_else_the_nearest_to_it():
    """By column: 1 of 0 and 1; none in [.5, .95], .96 lies nearest; none, .2 does; ends count, and the first wins."""
    assert choose(TOP, FAR, (0.5, 0.95)).tolist() == [1, 0, 1, 0]
    assert choose(TOP, FAR, (0.0, 1.0)).tolist() == [2, 0, 2, 0]
    assert choose(TOP[:1], FAR[:1], (0.5, 0.95)).tolist() == [0] * 4


def test_more_draws_never_leave_more_outside_the_band():
    rng = np.random.default_rng(0)
    fidelity, distance = rng.random((5, 200)), rng.random((5, 200))
    outside = []
    for k in range(1, 6):
        kept = choose(fidelity[:k], distance[:k], (0.8, 0.9))
        value = fidelity[kept, np.arange(200)]
        outside.append(int(((value < 0.8) | (value > 0.9)).sum()))
    assert outside == sorted(outside, reverse=True)
    assert outside[4] < outside[0]


def test_distances_are_those_of_unit_vectors():
    train = np.array([[2.0, 0.0], [0.0, 5.0]], np.float32)
    found = to_nearest(np.array([[3.0, 0.0], [1.0, 1.0], [-1.0, 0.0]], np.float32), train)
    assert found == pytest.approx([0, np.sqrt(2 - np.sqrt(2)), np.sqrt(2)], abs=1e-6)


@pytest.fixture
def draws(tmp_path, draw, save):
    """Two draws of three pairs: the images of the second are plain grey but for the last."""
    images, masks = draw(3, 0)
    parents = ["r0", "r1", "r2"]
    sets = [save(tmp_path / str(number), images, masks, "s", parents=parents) for number in (1, 2)]
    for pair in sets[1].pairs[:2]:
        write_image(sets[1].folder / pair.image, np.full((64, 64, 3), 128, np.uint8), {"draw": "2"})
    return sets


@pytest.mark.heavy
def test_as_many_pairs_as_before_with_the_images_that_were_chosen(tmp_path, draw, save, draws, capsys):
    """The judge here finds the upper half of the mask in a grey image, and nothing in any other."""
    images, masks = draw(3, 0)
    train = save(tmp_path / "train", images, masks, "r")

    def judge(shown):
        grey = (shown.std((1, 2, 3)) == 0)[:, None, None]
        return np.where(grey, masks[: len(shown)] * (np.arange(64)[:, None] < 32), 0.0)

    kept, counts = best_of(draws, train, judge, FilterRow(best_of=2, fidelity=(0.1, 0.95)), FeaturesConfig())
    write_set(kept, tmp_path / "out", "s-best")
    out = read_pairs(tmp_path / "out")
    verify(out)
    assert [pair.id for pair in out.pairs] == [pair.id for pair in draws[0].pairs]
    assert [pair.parent for pair in out.pairs] == ["r0", "r1", "r2"]
    assert {pair.source for pair in out.pairs} == {"s-best"}
    taken = [draws[1], draws[1], draws[0]]
    for pair, origin, there in zip(out.pairs, taken, draws[0].pairs, strict=True):
        assert (out.folder / pair.image).read_bytes() == (origin.folder / there.image).read_bytes()
        assert (out.folder / pair.mask).read_bytes() == (draws[0].folder / there.mask).read_bytes()
    assert png_text(out.folder / out.pairs[0].image) == {"draw": "2"}
    whole = {"before": 3, "kept": 3, "dropped": 0, "draws": 2, "changed": 2}
    assert {name: counts[name] for name in whole} == whole
    assert (counts["outside_band_before"], counts["outside_band_after"]) == (3, 1)
    assert counts["mask_fidelity_after"] > counts["mask_fidelity_before"]
    assert counts["distance_before"] == pytest.approx(0, abs=1e-3)  # these are the training images
    assert counts["distance_after"] > 0.1
    assert "1 of 3 masks have no draw with a Dice in [0.1, 0.95]" in capsys.readouterr().err

    kept, counts = best_of(
        draws, train, judge, FilterRow(best_of=2, fidelity=(0.0, 1.0), prefer="near"), FeaturesConfig()
    )
    assert [pair.image for pair in kept.pairs] == [str(draws[0].folder / pair.image) for pair in draws[0].pairs]
    assert counts["changed"] == 0
    assert "have no draw" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"best_of": 1}, "greater than or equal to 2"),
        ({"best_of": 3, "drop_copies": True}, "nothing that drops pairs"),
        ({"drop_copies": True, "fidelity": (0.5, 0.9)}, "for best_of"),
        ({"drop_copies": True, "prefer": "near"}, "for best_of"),
        ({"best_of": 3, "fidelity": (0.9, 0.5)}, "low < high"),
        ({"match_colour": "group"}, "parent"),
    ],
)
def test_rows_are_checked(wrong, said):
    with pytest.raises(ValidationError, match=said):
        FilterRow(**wrong)


def test_the_band_has_a_default_only_where_it_is_used():
    assert FilterRow(best_of=3).band == (0.5, 0.95)
    assert FilterRow(drop_copies=True).fidelity is None
