"""polyp_thr256: the histograms are the 256 comparisons, closed forms, and what SANet's correction does to it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segmentation.inference.predict import probability_correction
from segmentation.measures.evaluate import measure
from segmentation.measures.overlap import count_steps, dice_iou_curves, stretch, to_8_bit

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=9)
# few values often, so that constant maps, ties and maps that touch no end come up
MAPS = st.tuples(st.integers(0, 255), st.integers(0, 255)).flatmap(
    lambda ends: SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(min(ends), max(ends))))
)


def by_comparison(saved: np.ndarray, lesion: np.ndarray) -> tuple[list[float], list[float]]:
    """Return Dice and IoU at the thresholds 0, 1/255, ..., 1 as the toolbox defines them, in exact fractions."""
    low, high = int(saved.min()), int(saved.max())
    shift, scale = (low, high - low) if high > low else (0, 255)
    dice, iou = [], []
    for k in range(256):
        found = np.array([[Fraction(int(v) - shift, scale) >= Fraction(k, 255) for v in row] for row in saved])
        hits = int((found & lesion).sum())
        dice.append(2 * hits / int(found.sum() + lesion.sum()) if hits else 0.0)
        iou.append(hits / int((found | lesion).sum()) if hits else 0.0)
    return dice, iou


@settings(max_examples=60, deadline=None)
@given(MAPS, st.data())
def test_histograms_are_the_256_comparisons(saved, data):
    kind = data.draw(st.sampled_from(["any", "empty", "full"]))
    lesion = data.draw(arrays(bool, saved.shape)) if kind == "any" else np.full(saved.shape, kind == "full")
    dice, iou = dice_iou_curves(count_steps(saved, lesion))
    expected = by_comparison(saved, lesion)
    assert dice.tolist() == expected[0]
    assert iou.tolist() == expected[1]
    result = measure([saved / 255], [lesion.astype(np.uint8)], ["a"])
    assert result.images["polyp_thr256/dice"][0] == pytest.approx(np.mean(expected[0]))
    assert result.curves["polyp_thr256/iou"].tolist() == expected[1]


def test_every_8_bit_value_survives():
    values = np.arange(256, dtype=np.uint8)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(to_8_bit((values / 255).astype(dtype)), values)


def test_a_constant_map_is_not_stretched():
    saved = np.full((3, 3), 51, np.uint8)
    assert set(stretch(saved).ravel()) == {0.2}
    dice, _ = dice_iou_curves(count_steps(saved, np.ones((3, 3), bool)))
    assert dice.tolist() == [1.0] * 52 + [0.0] * 204


def binary_pair(found: slice, lesion: slice) -> tuple[np.ndarray, np.ndarray]:
    probability, mask = np.zeros((10, 10), np.float32), np.zeros((10, 10), np.uint8)
    probability[found], mask[lesion] = 1, 1
    return probability, mask


@pytest.mark.parametrize("found", [slice(2, 5), slice(3, 6), slice(0, 4), slice(8, 10)])
def test_closed_form_of_a_binary_map(found):
    """255 thresholds see the Dice of the map, the last one marks everything (spec/segmenters.md 4)."""
    probability, mask = binary_pair(found, slice(2, 5))
    result, share = measure([probability], [mask], ["a"]), mask.mean()
    dice = result.images["fg_image/dice"][0]
    assert result.images["polyp_thr256/dice"][0] == pytest.approx((255 * dice + 2 * share / (1 + share)) / 256)
    iou = result.images["fg_image/iou"][0]
    assert result.images["polyp_thr256/iou"][0] == pytest.approx((255 * iou + share) / 256)
    assert result.curves["polyp_thr256/dice"].max() == pytest.approx(max(dice, 2 * share / (1 + share)))


def test_only_the_stretched_map_counts():
    probability, mask = binary_pair(slice(2, 5), slice(2, 5))
    faint = measure([(probability * 51 + 51) / 255], [mask], ["a"]).images
    assert faint["polyp_thr256/dice"] == measure([probability], [mask], ["a"]).images["polyp_thr256/dice"]
    assert faint["fg_image/dice"] == 0


def test_without_lesion_every_threshold_is_0():
    images = measure([np.zeros((4, 4))], [np.zeros((4, 4), np.uint8)], ["a"]).images
    assert images["polyp_thr256/dice"][0] == images["polyp_thr256/iou"][0] == 0
    assert images["fg_image/dice"][0] == 1


FLOATS = st.floats(-20, 20, width=32, allow_subnormal=False)
LOGITS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=FLOATS))


@given(LOGITS)
def test_correction_moves_no_outline_and_divides_by_shares(logit):
    corrected = probability_correction(logit)
    assert corrected.dtype == logit.dtype
    np.testing.assert_array_equal(np.sign(corrected), np.sign(logit))
    for side in (logit > 0, logit < 0):
        np.testing.assert_allclose(corrected[side], logit[side] / side.mean(), rtol=1e-6)


def test_correction_sharpens_under_confident_maps():
    """The mean over thresholds gains where Dice at 0.5 stays (spec/segmenters.md 1.4)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    masks = [((y - cy) ** 2 + (x - cx) ** 2 < r**2).astype(np.uint8) for cy, cx, r in rng.uniform(9, 40, (6, 3))]
    logits = [2.0 * mask - 1.5 + rng.normal(0, 0.3, mask.shape) for mask in masks]
    ids = [str(number) for number in range(len(masks))]
    plain, corrected = (
        measure([1 / (1 + np.exp(-change(logit))) for logit in logits], masks, ids)
        for change in (lambda logit: logit, probability_correction)
    )
    np.testing.assert_array_equal(plain.counts, corrected.counts)
    assert corrected.images["polyp_thr256/dice"].mean() > plain.images["polyp_thr256/dice"].mean() + 0.03


def test_faint_maps_count_in_full_when_they_are_stretched_before_they_are_saved():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 1
    smooth = np.exp(-(((np.mgrid[:64, :64] - 29.5) / 12) ** 2).sum(0)).astype(np.float32)
    found = {}
    for peak in (0.001, 1.0):
        for stretch_maps in (False, True):
            measured = measure([smooth * peak], [mask], ["a"], stretch_maps=stretch_maps)
            found[peak, stretch_maps] = measured.images["polyp_thr256/dice"][0]
            assert measured.images["fg_image/dice"][0] == (0 if peak < 0.5 else measured.images["fg_image/dice"][0])
    assert found[0.001, False] < 0.01
    assert abs(found[0.001, True] - found[1.0, True]) < 0.01
    assert abs(found[1.0, True] - found[1.0, False]) < 0.01
