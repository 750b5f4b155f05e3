"""Dice and IoU at one threshold against torchmetrics and segmentation_models_pytorch, identities and empty masks."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex, MulticlassJaccardIndex
from torchmetrics.functional.classification import binary_stat_scores

from segmentation.measures.evaluate import Measures, measure
from segmentation.measures.overlap import count, pooled


def random_set(count: int = 7, size_px: int = 33, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, size_px, size_px)) < rng.uniform(0.05, 0.6, (count, 1, 1))).astype(np.uint8)
    probabilities = np.where(rng.random(masks.shape) < 0.8, masks * 0.6 + 0.2, rng.random(masks.shape))
    return probabilities.astype(np.float32), masks


def named(probabilities, masks) -> Measures:
    return measure(probabilities, masks, [f"i{n}" for n in range(len(masks))])


def iou_of(dice):
    """Return f(D) of spec/segmenters.md 5."""
    return dice / (2 - dice)


def test_fg_image_is_the_librarys():
    probabilities, masks = random_set()
    inputs = torch.from_numpy(probabilities)[:, None], torch.from_numpy(masks)[:, None].long()
    stats = smp.metrics.get_stats(*inputs, mode="binary", threshold=0.5)
    result = named(probabilities, masks)
    np.testing.assert_array_equal(result.counts, torch.cat(stats, dim=1).numpy())
    f1 = smp.metrics.f1_score(*stats, reduction="none")[:, 0]
    iou = smp.metrics.iou_score(*stats, reduction="none")[:, 0]
    np.testing.assert_allclose(result.images["fg_image/dice"], f1, atol=1e-6)
    np.testing.assert_allclose(result.images["fg_image/iou"], iou, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_counts_are_those_of_torchmetrics_on_a_thousand_maps(share):
    rng = np.random.default_rng(4)
    masks = (rng.random((1000, 9, 11)) < share).astype(np.uint8)
    maps = (np.round(rng.random(masks.shape) * 8) / 8 * rng.choice([0, 0.4, 1], (1000, 1, 1))).astype(np.float32)
    inputs = torch.from_numpy(maps), torch.from_numpy(masks).long()
    tp, fp, tn, fn, _ = binary_stat_scores(*inputs, multidim_average="samplewise").T.numpy()
    counts = [count(probability > 0.5, mask > 0) for probability, mask in zip(maps, masks, strict=True)]
    np.testing.assert_array_equal(counts, np.stack([tp, fp, fn, tn], axis=1))


def test_classavg_image_is_the_librarys():
    probabilities, masks = random_set(seed=1)
    labels = torch.from_numpy(probabilities > 0.5).long(), torch.from_numpy(masks).long()
    stats = smp.metrics.get_stats(*labels, mode="multiclass", num_classes=2)  # (images, classes) each
    result = named(probabilities, masks)
    f1 = smp.metrics.f1_score(*stats, reduction="none").mean(1)
    iou = smp.metrics.iou_score(*stats, reduction="none").mean(1)
    np.testing.assert_allclose(result.images["classavg_image/dice"], f1, atol=1e-6)
    np.testing.assert_allclose(result.images["classavg_image/iou"], iou, atol=1e-6)


def test_pooled_is_the_librarys():
    probabilities, masks = random_set()
    p, y = torch.from_numpy(probabilities), torch.from_numpy(masks).long()
    result = pooled(named(probabilities, masks).counts)
    assert result["pooled/dice"] == pytest.approx(BinaryF1Score()(p, y).item(), abs=1e-6)
    assert result["pooled/iou"] == pytest.approx(BinaryJaccardIndex()(p, y).item(), abs=1e-6)
    two_class = MulticlassJaccardIndex(2, average="macro")((p > 0.5).long(), y).item()
    assert result["pooled/iou_two_class"] == pytest.approx(two_class, abs=1e-6)


def test_foreground_dice_and_iou_determine_each_other():
    result = named(*random_set(seed=3))
    np.testing.assert_allclose(result.images["fg_image/iou"], iou_of(result.images["fg_image/dice"]))
    values = pooled(result.counts)
    assert values["pooled/iou"] == pytest.approx(iou_of(values["pooled/dice"]))


def test_the_papers_unet_pair_is_a_foreground_dice_and_a_two_class_iou():
    """ISIC2016: Dice 89.58 and a lesion share of 0.281 give the IoU of 86.62, where the foreground has 81.1."""
    size, lesion = 1_000_000, 281_000
    errors = round(2 * lesion * (1 - 0.8958) / 2)  # as many missed as falsely found
    counts = np.array([[lesion - errors, errors, errors, size - lesion - errors]])
    values = pooled(counts)
    assert values["pooled/dice"] == pytest.approx(0.8958, abs=1e-5)
    assert values["pooled/iou_two_class"] == pytest.approx(0.8662, abs=2e-3)
    assert values["pooled/iou"] == pytest.approx(0.811, abs=1e-3)


@pytest.mark.parametrize(("dice", "iou", "background"), [(49.59, 49.19, 0.9918), (49.47, 48.95, 0.9894)])
def test_an_all_background_prediction_gets_half_of_the_background(dice, iou, background):
    """The DFMGAN rows of the paper's Table 4 are those of a segmenter that finds nothing."""
    share = 2 * (1 - background) / (2 - background)  # lesion share for which the background has this Dice
    mask = (np.arange(1_000_000) < round(share * 1_000_000)).astype(np.uint8).reshape(1000, 1000)
    images = named([np.zeros(mask.shape, np.float32)], [mask]).images
    assert images["classavg_image/dice"][0] == pytest.approx(background / 2, abs=1e-6)
    assert images["classavg_image/iou"][0] == pytest.approx(iou_of(background) / 2, abs=1e-6)
    assert round(100 * images["classavg_image/dice"][0], 2) == dice
    assert round(100 * images["classavg_image/iou"][0], 2) == iou


@pytest.mark.parametrize(("found", "lesion", "score"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0), (1, 1, 1.0)])
def test_empty_and_full_images(found, lesion, score):
    result = named(np.full((1, 4, 4), found, np.float32), np.full((1, 4, 4), lesion, np.uint8))
    for name in ("fg_image/dice", "fg_image/iou", "classavg_image/dice", "classavg_image/iou"):
        assert result.images[name].tolist() == [score], name
    assert set(pooled(result.counts).values()) == {score}


def test_half_is_not_lesion():
    assert named(np.full((1, 2, 2), 0.5, np.float32), np.ones((1, 2, 2), np.uint8)).counts.tolist() == [[0, 0, 4, 0]]


def test_images_of_several_sizes_are_taken_one_at_a_time():
    small, large = random_set(2, 8), random_set(1, 40, seed=1)
    taken = []

    def maps():
        for probability in [*small[0], *large[0]]:
            taken.append(probability.shape)
            yield probability

    def masks():
        for number, mask in enumerate([*small[1], *large[1]], 1):
            assert len(taken) == number
            yield mask

    result = measure(maps(), masks(), ["a", "b", "c"])
    assert result.counts.sum(axis=1).tolist() == [64, 64, 1600]
    for name, values in result.images.items():
        assert values[2] == named(*large).images[name][0], name


def test_partners_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="i0: a map"):
        named(np.zeros((1, 8, 8), np.float32), np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="shorter"):
        measure([np.zeros((2, 2))], [np.zeros((2, 2))], ["a", "b"])
