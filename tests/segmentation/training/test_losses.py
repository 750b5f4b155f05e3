"""The losses against segmentation_models_pytorch's and the official expressions, and by hand."""

import math

import pytest
import torch
import torch.nn.functional as functional
from segmentation_models_pytorch.losses import DiceLoss

from segmentation.networks.blocks import Outputs
from segmentation.training.losses import (
    BASE_TAU,
    TAU,
    bce_dice,
    ce_dice,
    contrast,
    edge_weights,
    pixel_contrast,
    sample_pixels,
    structure,
    structure_contrast,
)


def one(*maps):
    return Outputs(maps)


def test_bce_and_dice_by_hand():
    logits = torch.zeros(1, 1, 1, 4)
    masks = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    # p = 0.5: entropy is ln 2; overlap 1, sums 2 and 2, so Dice 2 / 5
    assert bce_dice(one(logits), masks).item() == pytest.approx(math.log(2) + 1 - 2 / 5)


def test_agrees_with_the_library_on_large_masks():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 256, 256, generator=generator)
    masks = (torch.rand(3, 1, 256, 256, generator=generator) > 0.5).float()
    dice = torch.stack([DiceLoss("binary")(logits[i : i + 1], masks[i : i + 1]) for i in range(3)]).mean()
    entropy = torch.nn.BCEWithLogitsLoss()(logits, masks)
    assert bce_dice(one(logits), masks).item() == pytest.approx((dice + entropy).item(), abs=1e-4)


def test_an_empty_mask_has_a_finite_gradient():
    logits = torch.full((1, 1, 8, 8), -200.0, requires_grad=True)
    bce_dice(one(logits), torch.zeros(1, 1, 8, 8)).backward()
    assert torch.isfinite(logits.grad).all()


def test_maps_are_added_up():
    logits, masks = torch.randn(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float()
    both = bce_dice(one(logits, 2 * logits), masks)
    torch.testing.assert_close(both, bce_dice(one(logits), masks) + bce_dice(one(2 * logits), masks))


def test_cross_entropy_and_dice_of_two_classes_by_hand():
    logits = torch.zeros(1, 2, 1, 4)
    masks = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    # p = 0.5: entropy ln 2; lesion: 2 * 0.5 / (2 + 1), background: 2 * 1.5 / (2 + 3)
    assert ce_dice(one(logits), masks).item() == pytest.approx(0.5 * math.log(2) + 0.5 * (1 - (1 / 3 + 3 / 5) / 2))


def test_the_structure_loss_by_hand_as_coded_and_as_written():
    masks = torch.tensor([[[[1.0, 0.0]]]])
    logits = torch.tensor([[[[0.0, math.log(3)]]]])  # p = 0.5 and 0.75
    w1, w2 = 1 + 5 * (1 - 1 / 961), 1 + 5 / 961  # a window of 961 pixels sees the one lesion pixel
    assert edge_weights(masks).flatten().tolist() == pytest.approx([w1, w2])
    overlap, both = 0.5 * w1, 1.5 * w1 + 0.75 * w2
    iou = 1 - (overlap + 1) / (both - overlap + 1)
    plain = (math.log(2) + math.log(4)) / 2
    weighted = (w1 * math.log(2) + w2 * math.log(4)) / (w1 + w2)
    assert structure(one(logits), masks, weighted_bce=False).item() == pytest.approx(plain + iou)
    assert structure(one(logits), masks, weighted_bce=True).item() == pytest.approx(weighted + iou)


@pytest.mark.filterwarnings("ignore")
def test_as_coded_is_what_the_legacy_argument_gives():
    logits, masks = torch.randn(3, 1, 40, 48), (torch.rand(3, 1, 40, 48) > 0.7).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduce="none")
    weights, found = edge_weights(masks), logits.sigmoid()
    weighted_entropy = (weights * entropy).sum((2, 3)) / weights.sum((2, 3))
    overlap, both = ((found * masks) * weights).sum((2, 3)), ((found + masks) * weights).sum((2, 3))
    official = (weighted_entropy + 1 - (overlap + 1) / (both - overlap + 1)).mean()
    torch.testing.assert_close(structure(one(logits), masks, weighted_bce=False), official)
    assert not torch.isclose(structure(one(logits), masks, weighted_bce=True), official, rtol=1e-4)


def test_the_contrast_is_that_of_a_double_loop():
    generator = torch.Generator().manual_seed(1)
    anchors = functional.normalize(torch.randn(14, 8, generator=generator), dim=1)
    labels = torch.tensor([0] * 6 + [1] * 8).bool()
    total = 0.0
    for i in range(14):
        s = [float(anchors[i] @ anchors[j]) / TAU for j in range(14)]
        others = sum(math.exp(s[k]) for k in range(14) if labels[k] != labels[i])
        mine = [j for j in range(14) if labels[j] == labels[i] and j != i]
        total += -(TAU / BASE_TAU) * sum(s[j] - math.log(math.exp(s[j]) + others) for j in mine) / len(mine)
    assert contrast(anchors, labels).item() == pytest.approx(total / 14, rel=1e-5)


def test_as_many_pixels_of_each_class_are_sampled_and_small_classes_are_left_out():
    embedding = torch.randn(3, 4, 32, 32, requires_grad=True)
    masks = torch.zeros(3, 1, 32, 32)
    masks[0, :, :16], masks[1, :, :10] = 1, 0.6
    masks[2, :, :5, :5] = 1  # 25 pixels, too few
    torch.manual_seed(0)
    _, labels = sample_pixels(embedding, masks, None)
    assert labels.tolist().count(True) == 2 * 100
    assert labels.tolist().count(False) == 3 * 100
    everywhere = torch.ones_like(masks).bool()
    hard, of = sample_pixels(torch.arange(1024.0).view(1, 1, 32, 32), masks[:1], everywhere)
    assert set(hard[~of, 0].int().tolist()) <= set(range(512, 1024))  # all of them wrongly taken for lesion
    pixel_contrast(functional.normalize(embedding, dim=1), masks).backward()
    assert embedding.grad.abs().sum() > 0
    assert pixel_contrast(embedding[:, :, :2, :2], masks[:, :, :2, :2]).item() == 0


def test_the_contrast_has_a_tenth_of_the_weight():
    logits, masks = torch.randn(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    masks[:, :, :16] = 1
    embedding = functional.normalize(torch.randn(2, 8, 8, 8), dim=1)
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(pixel_contrast(embedding, masks))
    torch.manual_seed(3)
    both = structure_contrast(Outputs((logits,), embedding), masks, weighted_bce=False, hard=False)
    torch.testing.assert_close(both, structure(one(logits), masks, weighted_bce=False) + 0.1 * losses[0])
    torch.testing.assert_close(losses[0], losses[1])
    with pytest.raises(ValueError, match="no embedding"):
        structure_contrast(one(logits), masks, weighted_bce=False, hard=False)
