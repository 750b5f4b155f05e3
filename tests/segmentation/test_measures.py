"""Measures against torchmetrics and segmentation_models_pytorch, identities and empty masks."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex, MulticlassJaccardIndex

from data.pairs.errors import UserError
from segmentation.measures import Measures, measure, summarize


def random_set(count: int = 7, size_px: int = 33, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = (rng.random((count, size_px, size_px)) < rng.uniform(0.05, 0.6, (count, 1, 1))).astype(np.uint8)
    probabilities = np.where(rng.random(masks.shape) < 0.8, masks * 0.6 + 0.2, rng.random(masks.shape))
    return probabilities.astype(np.float32), masks


def named(probabilities, masks) -> Measures:
    return measure(probabilities, masks, [f"i{n}" for n in range(len(masks))])


def test_per_image_scores_are_the_librarys():
    probabilities, masks = random_set()
    inputs = torch.from_numpy(probabilities)[:, None], torch.from_numpy(masks)[:, None].long()
    stats = smp.metrics.get_stats(*inputs, mode="binary", threshold=0.5)
    result = named(probabilities, masks)
    np.testing.assert_array_equal(result.counts, torch.cat(stats, dim=1).numpy())
    f1 = smp.metrics.f1_score(*stats, reduction="none")[:, 0]
    iou = smp.metrics.iou_score(*stats, reduction="none")[:, 0]
    np.testing.assert_allclose(result.images["fg_image/dice"], f1, atol=1e-6)
    np.testing.assert_allclose(result.images["fg_image/iou"], iou, atol=1e-6)


def test_pooled_scores_are_the_librarys():
    probabilities, masks = random_set()
    p, y = torch.from_numpy(probabilities), torch.from_numpy(masks).long()
    metrics = summarize({"one": named(probabilities, masks)})["metrics"]
    assert metrics["mDice_pooled"] == pytest.approx(BinaryF1Score()(p, y).item(), abs=1e-6)
    assert metrics["mIoU_pooled"] == pytest.approx(BinaryJaccardIndex()(p, y).item(), abs=1e-6)
    two_class = MulticlassJaccardIndex(2, average="macro")((p > 0.5).long(), y).item()
    assert metrics["mIoU_two_class_pooled"] == pytest.approx(two_class, abs=1e-6)


def test_dice_and_iou_determine_each_other():
    result = named(*random_set(seed=3))
    dice, iou = result.images["fg_image/dice"], result.images["fg_image/iou"]
    np.testing.assert_allclose(iou, dice / (2 - dice))


@pytest.mark.parametrize(("found", "lesion", "score"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0), (1, 1, 1.0)])
def test_empty_and_full_images(found, lesion, score):
    result = named(np.full((1, 4, 4), found, np.float32), np.full((1, 4, 4), lesion, np.uint8))
    assert result.images["fg_image/dice"].tolist() == [score]
    assert result.images["fg_image/iou"].tolist() == [score]
    assert summarize({"one": result})["metrics"]["mIoU_two_class_pooled"] == score


def test_half_is_not_lesion():
    assert named(np.full((1, 2, 2), 0.5, np.float32), np.ones((1, 2, 2), np.uint8)).counts.tolist() == [[0, 0, 4, 0]]


def test_images_of_several_sizes():
    small, large = random_set(2, 8), random_set(1, 40, seed=1)
    result = named([*small[0], *large[0]], [*small[1], *large[1]])
    assert result.counts.sum(axis=1).tolist() == [64, 64, 1600]
    assert result.images["fg_image/dice"][2] == named(*large).images["fg_image/dice"][0]


def test_partners_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="size of their masks"):
        named(np.zeros((1, 8, 8), np.float32), np.zeros((1, 4, 4), np.uint8))


def test_test_sets_weigh_by_their_images():
    def half(count: int, score: float) -> Measures:
        return named(np.full((count, 4, 4), score, np.float32), np.ones((count, 4, 4), np.uint8))

    summary = summarize({"found": half(3, 1.0), "missed": half(1, 0.0)})
    assert summary["metrics"]["mDice"] == pytest.approx(3 / 4)
    assert summary["metrics"]["mDice_pooled"] == pytest.approx(2 * 3 / (3 + 4))
    assert summary["metrics"]["images"] == 4
    found, missed = summary["test_sets"]["found"], summary["test_sets"]["missed"]
    assert found["fg_image/dice"] == {"mean": 1.0, "sd": 0.0}
    assert missed["fg_image/dice"]["sd"] is None
    assert missed["images"] == [{"id": "i0", "fg_image/dice": 0.0, "fg_image/iou": 0.0}]


def test_a_test_set_without_images_is_named():
    with pytest.raises(UserError, match="test set none holds no images"):
        summarize({"none": named(np.zeros((0, 4, 4)), np.zeros((0, 4, 4)))})
