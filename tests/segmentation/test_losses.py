"""The loss against segmentation_models_pytorch's, and by hand."""

import math

import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss

from segmentation.losses import bce_dice


def test_bce_and_dice_by_hand():
    logits = torch.zeros(1, 1, 1, 4)
    masks = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    # p = 0.5: entropy is ln 2; overlap 1, sums 2 and 2, so Dice 2 / 5
    assert bce_dice(logits, masks).item() == pytest.approx(math.log(2) + 1 - 2 / 5)


def test_agrees_with_the_library_on_large_masks():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 256, 256, generator=generator)
    masks = (torch.rand(3, 1, 256, 256, generator=generator) > 0.5).float()
    dice = torch.stack([DiceLoss("binary")(logits[i : i + 1], masks[i : i + 1]) for i in range(3)]).mean()
    entropy = torch.nn.BCEWithLogitsLoss()(logits, masks)
    assert bce_dice(logits, masks).item() == pytest.approx((dice + entropy).item(), abs=1e-4)


def test_an_empty_mask_has_a_finite_gradient():
    logits = torch.full((1, 1, 8, 8), -200.0, requires_grad=True)
    bce_dice(logits, torch.zeros(1, 1, 8, 8)).backward()
    assert torch.isfinite(logits.grad).all()
