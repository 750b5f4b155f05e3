"""Switches of the consistency loss and min-SNR: closed forms, the gradients they weigh, and which losses they spare."""

import pytest
import torch
from pydantic import ValidationError

from siamese.config.adc import AdcRow
from siamese.config.rows import SiameseRow
from siamese.method.gate import GATES, gain
from siamese.method.loss_weights import Additions, loss_weights, snr_weights
from siamese.method.registry import figures
from siamese.method.reweight import agreement_weights
from siamese.method.step import mask_step, online_step, siamese_step
from tests.siamese.method.test_step import PAPER, gradients, worst_difference, zero


def change(**switches) -> SiameseRow:
    return SiameseRow.model_validate({**PAPER.model_dump(), **switches})


def step(networks, batch, row=PAPER, **weights):
    """Return terms and gradients of step 40 of 60."""
    zero(*networks)
    asked = loss_weights(40, 60, batch.timesteps, row)._replace(**weights)
    return siamese_step(*networks, batch, asked, 0.5), gradients(*networks)


def same(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_gains_and_gates_in_closed_form():
    noise = torch.zeros(4, 1, 2, 2)
    mask = torch.full_like(noise, 2.0).requires_grad_()
    mix = torch.tensor([1.0, 2.0, 4.0, 0.0]).view(4, 1, 1, 1).expand_as(noise)
    gains = gain(mask, mix, noise)
    assert gains.tolist() == [0.75, 0.0, -3.0, 1.0]
    assert not gains.requires_grad
    assert GATES["gain"](gains).tolist() == [0.75, 0.0, 0.0, 1.0]
    assert GATES["band"](gains).tolist() == [0.75, 0.0, 0.0, 0.0]
    assert GATES["band"](torch.tensor([0.5])).item() == 1.0
    assert torch.isfinite(gain(noise, mix, noise)).all()


@pytest.mark.parametrize("kind", GATES)
def test_a_gate_is_the_weight_of_its_sample_in_the_consistency_loss(make_networks, make_batch, kind):
    networks, batch = make_networks(), make_batch([500])
    _, without = step(networks, batch, change(w_c=0.0))
    terms, found = step(networks, batch, change(consistency_gate=kind))
    worth = GATES[kind](terms["gain"])
    _, by_hand = step(networks, batch, change(w_c=float(worth)))
    assert 0 <= worth < 1
    assert worst_difference(found, by_hand) < 1e-10
    assert same(found, without) == (worth == 0)


def test_a_gate_that_is_open_or_no_gate_is_the_paper_to_the_bit(make_networks, make_batch, monkeypatch):
    networks, batch = make_networks(), make_batch([100, 500])
    terms, paper = step(networks, batch)
    monkeypatch.setitem(GATES, "gain", torch.ones_like)
    gated, found = step(networks, batch, change(consistency_gate="gain"))
    assert same(found, paper)
    assert same({key: gated[key] for key in terms}, terms)
    assert gated.keys() - terms.keys() == {"gain"}
    everything_off = change(consistency_gate="none", consistency_reweight="none", image_share=1.0, snr_gamma=None)
    assert same(step(networks, batch, everything_off)[1], paper)
    assert (figures(PAPER), figures(change(consistency_gate="band"))) == ((), ("gain",))


def test_gains_come_from_losses_without_weights(make_networks, make_batch):
    networks, batch = make_networks(), make_batch([100, 500])
    plain, _ = step(networks, batch, change(consistency_gate="gain"))
    cells = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    added = Additions(snr=cells[:, 0, 0, 0])
    weighed, _ = step(networks, batch, change(consistency_gate="gain"), lesion=cells, agreement=cells, additions=added)
    assert torch.equal(weighed["gain"], plain["gain"])
    assert not torch.allclose(weighed["mask"], plain["mask"])


def test_the_image_share_scales_the_ramp_and_the_constant():
    t = torch.tensor([0])
    assert loss_weights(5, 10, t, change(image_share=0.25)).image == 0.125
    assert loss_weights(5, 10, t, change(image_share=0.25, image_weight="constant")).image == 0.25


def test_ratio_weighs_the_consistency_loss_alone_and_means_one(make_networks, make_batch):
    networks, batch = make_networks(), make_batch([300, 500])
    lesion = torch.zeros(2, 3, 16, 16)
    lesion[0, :, :4, :4] = 1
    cells = agreement_weights(change(consistency_reweight="ratio"), lesion, batch.noisy_latents)
    assert cells.mean((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert (cells[0, 0, 0, 0].item(), cells[0, 0, 7, 7].item()) == pytest.approx(
        (8, 8 / 15)
    )  # r = 1/16: 1/2r, 1/2(1-r)
    assert torch.equal(cells[1], torch.ones_like(cells[1]))  # an empty mask
    assert agreement_weights(PAPER, lesion, batch.noisy_latents) is None
    plain, weighed = (step(networks, batch, agreement=weights)[0] for weights in (None, cells))
    assert all(torch.equal(plain[key], weighed[key]) for key in ("mask", "image", "online"))
    assert weighed["consistency"][0] != plain["consistency"][0]
    assert weighed["consistency"][1] == pytest.approx(plain["consistency"][1].item())


def test_min_snr_in_closed_form():
    """Schedule of Stable Diffusion: 5 touches t <= 146 alone; spec: .0043 at 0, .25 at 50, .59 at 100, mean .917."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    sigmas = (1 - (1 - betas).cumprod(0)).sqrt()
    weights = snr_weights(change(snr_gamma=5.0), sigmas)
    assert weights[[0, 50, 100, 999]].tolist() == pytest.approx([0.0043, 0.25, 0.59, 1.0], rel=0.02)
    assert (weights < 1).nonzero().max() == 146
    assert weights.mean().item() == pytest.approx(0.917, abs=5e-4)
    assert snr_weights(PAPER, sigmas) is None


def test_min_snr_spares_the_augmented_samples(make_networks, make_batch):
    """With no weight on L_m and L_i, and no L_c, what moves is L_m' alone, whole."""
    networks, batch, waiting = make_networks(), make_batch([100, 200]), []
    nothing = torch.zeros(2)
    _, at_once = step(networks, batch, change(w_c=0.0), additions=Additions(snr=nothing))
    _, before = step(networks, batch, change(w_c=0.0), additions=Additions(snr=nothing), waiting=waiting)
    assert not any(gradient.any() for gradient in before.values())
    zero(*networks)
    online_step(*networks, waiting, 0.5)
    late = gradients(*networks)
    assert any(gradient.any() for gradient in late.values())
    assert worst_difference({key: at_once[key] for key in late}, late) < 1e-10


def test_min_snr_weighs_each_sample_of_a_plain_step(make_networks, make_batch):
    networks, batch = make_networks(), make_batch([100])
    found = []
    for snr in (None, torch.tensor([0.25])):
        zero(*networks)
        found.append((mask_step(*networks, batch, 0.5, None, Additions(snr=snr)), gradients(*networks)))
    assert torch.equal(found[0][0], found[1][0])
    assert worst_difference(found[1][1], {key: 0.25 * value for key, value in found[0][1].items()}) < 1e-12


def test_switches_that_do_nothing_are_refused():
    with pytest.raises(ValidationError, match="consistency_gate: does nothing with noise_consistency: false"):
        change(consistency_gate="gain", noise_consistency=False)


@pytest.mark.parametrize("switch", [{"snr_gamma": 5.0}, {"layout_loss": 0.05}, {"loss_reweight": "law"}])
def test_adc_refuses_what_its_step_does_not_read(switch):
    with pytest.raises(ValidationError, match="the step of adc does not read it"):
        AdcRow(method="adc", hint="dhi", hint_widths=(4, 8, 16), **switch)
