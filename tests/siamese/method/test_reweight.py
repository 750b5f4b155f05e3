"""Lesion weights in closed form, and what they do to the losses of each method."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from siamese.config.adc import AdcRow
from siamese.config.rows import ControlNetImageRow, ControlNetRow, SiameseRow, T2IAdapterRow
from siamese.method.checkpoint import build_networks
from siamese.method.loss_weights import loss_weights
from siamese.method.losses import mse_per_sample
from siamese.method.registry import training_step
from siamese.method.reweight import row_weights
from siamese.method.step import siamese_step

HI = {"hint": "hi", "hint_widths": (4, 8)}
ROWS = {
    "controlnet": ControlNetRow(method="controlnet", **HI),
    "siamese": SiameseRow(method="siamese", **HI),
    "controlnet_image": ControlNetImageRow(method="controlnet_image", **HI),
    "t2i_adapter": T2IAdapterRow(method="t2i_adapter"),
    "adc": AdcRow(method="adc", **HI),
}


def hints_of(lesion: torch.Tensor) -> torch.Tensor:
    return lesion.float()[:, None].repeat(1, 3, 1, 1)


def weights_of(hints: torch.Tensor, *, normalize: bool = False) -> torch.Tensor:
    row = ControlNetRow(method="controlnet", loss_reweight="arsdm", reweight_normalize=normalize, **HI)
    return row_weights(row, hints, torch.empty(len(hints), 4, 4, 4))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 16), st.integers(0, 1000))
def test_weights_are_the_other_regions_share(cells, seed):
    """W = 1 - r in the lesion and r outside, with mean 2 r (1 - r); normalised the mean is 1."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    small = torch.zeros(16).scatter(0, order[:cells], 1.0).view(1, 4, 4)
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    weights, share = weights_of(hints_of(large)), cells / 16
    assert torch.allclose(weights[0, 0], torch.where(small[0] > 0, 1 - share, share))
    assert weights.mean().item() == pytest.approx(2 * share * (1 - share), abs=1e-6)
    normal = weights_of(hints_of(large), normalize=True)
    assert normal.mean().item() == pytest.approx(1, abs=1e-5)
    if 0 < cells < 16:
        assert normal[0, 0][small[0] > 0].sum().item() == pytest.approx(8, rel=1e-4)  # half of all the weight


def test_any_class_of_lesion_counts_and_each_mask_has_its_own_share():
    lesion = torch.zeros(2, 4, 4)
    lesion[0, 0, 0], lesion[1, :2] = 0.5, 1.0
    weights = weights_of(hints_of(lesion))
    assert weights[0, 0, 0, 0] == 15 / 16
    assert weights[0, 0, 3, 3] == 1 / 16
    assert weights[1].unique().tolist() == [0.5]


def test_the_weighted_loss_by_hand():
    pred, noise = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    weights = torch.tensor([[[[0.25, 0.5]]]])
    assert mse_per_sample(pred, noise, weights).tolist() == [(0.25 * 1 + 0.5 * 4) / 2]
    assert mse_per_sample(pred.bfloat16(), noise, weights).dtype == torch.float32
    assert mse_per_sample(pred.double(), noise.double(), weights).dtype == torch.float64


def batch_of(make_batch, lesion):
    batch = make_batch([100, 500])
    single = type(batch)(*(t.float() if t.is_floating_point() else t for t in batch))
    size = 8  # sides of the latents of make_batch; the VAE of base_dir makes them half as large as the image
    context = torch.randn(2, 77, 16, generator=torch.Generator().manual_seed(0))
    return single._replace(mask_hint=hints_of(lesion.expand(2, 2 * size, 2 * size)), context=context)


@pytest.mark.parametrize("name", ROWS)
def test_an_empty_mask_teaches_a_method_nothing_unless_normalised(name, make_batch, base_dir):
    row = ROWS[name].model_copy(update={"loss_reweight": "arsdm", "w_c": 0.0})
    batch = batch_of(make_batch, torch.zeros(1, 1, 1))
    networks = build_networks(row, base_dir)
    terms = training_step(networks, row, batch, 40, 60, 0.5)
    assert all(term.abs().sum() == 0 for key, term in terms.items() if key != "consistency")
    gradients = [p.grad for net in networks.all() for p in net.parameters() if p.grad is not None]
    assert gradients
    assert not any(gradient.any() for gradient in gradients)
    plain, normal = (
        training_step(networks, ROWS[name].model_copy(update=change), batch, 40, 60, 0.5)
        for change in ({}, {"loss_reweight": "arsdm", "reweight_normalize": True})
    )
    assert all(torch.allclose(plain[key], normal[key]) for key in plain)


@pytest.mark.parametrize("name", ROWS)
def test_a_half_full_mask_halves_the_mse_per_samplees(name, make_batch, base_dir):
    """r = 1/2 makes W = 1/2 everywhere; L_c compares predictions with each other and is not weighed."""
    lesion = torch.zeros(1, 16, 16)
    lesion[:, :8] = 1
    batch, found = batch_of(make_batch, lesion), []
    for how in ("none", "arsdm"):
        row = ROWS[name].model_copy(update={"loss_reweight": how})
        found.append(training_step(build_networks(row, base_dir), row, batch, 40, 60, 0.5))
    assert found[0].keys() == found[1].keys()
    for key, plain in found[0].items():
        assert torch.allclose(found[1][key], plain * (1.0 if key == "consistency" else 0.5), rtol=1e-4), key


def test_none_is_the_step_without_weights(make_networks, make_batch):
    batch = make_batch([100, 500])
    assert row_weights(ROWS["siamese"], batch.mask_hint, batch.noisy_latents) is None
    controlnet, unet = make_networks(hint="hi")
    weights = loss_weights(40, 60, batch.timesteps, ROWS["siamese"])
    assert weights.lesion is None
    ones = weights._replace(lesion=torch.ones(2, 1, 8, 8))
    plain, weighted = (siamese_step(controlnet, unet, batch, w, 0.5) for w in (weights, ones))
    assert all(torch.allclose(plain[key], weighted[key]) for key in plain)


def test_normalising_nothing_is_refused():
    with pytest.raises(ValidationError, match="does nothing"):
        ControlNetRow(method="controlnet", reweight_normalize=True, **HI)
