"""The training step against a literal copy of the official one, and the gradient table cell by cell."""

import pytest
import torch

from siamese import step as step_module
from siamese.config import SiameseRow
from siamese.control import decoder_modules
from siamese.step import TERMS, mask_step, siamese_step
from siamese.weights import LossWeights, loss_weights
from tests.siamese.oracle import official_step

SWITCHES = SiameseRow(method="siamese", hint="dhi", hint_widths=(4, 8, 16)).switches
GATED = {"none": [500, 700, 900], "some": [100, 201, 200], "all": [0, 100, 200]}


def gradients(controlnet, unet):
    named = {f"c.{k}": p for k, p in controlnet.named_parameters()} | {f"u.{k}": p for k, p in unet.named_parameters()}
    return {name: p.grad for name, p in named.items() if p.grad is not None}


def zero(controlnet, unet):
    for net in (controlnet, unet):
        net.zero_grad(set_to_none=True)


def worst_difference(ours, theirs) -> float:
    assert ours.keys() == theirs.keys()
    return max(float((ours[k] - theirs[k]).abs().max() / (theirs[k].abs().max() + 1e-30)) for k in ours)


@pytest.mark.parametrize("gated", GATED)
@pytest.mark.parametrize("k", [0, 20, 60])
def test_loss_and_gradients_equal_the_official_step(make_networks, make_batch, gated, k):
    controlnet, unet = make_networks()
    batch = make_batch(GATED[gated])
    expected = official_step(controlnet, unet, batch, step=k, num_steps=60)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    weights = loss_weights(k, 60, batch.timesteps, SWITCHES)
    terms = siamese_step(controlnet, unet, batch, weights, 1 / 3)
    loss = sum(float(terms[name].mean()) * (weights.consistency if name == "consistency" else 1) for name in TERMS)
    assert loss == pytest.approx(float(expected), rel=1e-10)
    assert worst_difference(gradients(controlnet, unet), theirs) < 1e-10


def test_other_weights_reach_the_loss_as_in_the_official_step(make_networks, make_batch):
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    official_step(controlnet, unet, batch, step=40, num_steps=60, w_c=0.3, w_m=0.7)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    weights = loss_weights(40, 60, batch.timesteps, SWITCHES._replace(w_c=0.3, w_m=0.7))
    siamese_step(controlnet, unet, batch, weights, 1 / 3)
    assert worst_difference(gradients(controlnet, unet), theirs) < 1e-10


WITHOUT_DETACH = {
    "mix_residuals": lambda image, mask, *, w_image, w_mask: type(image)(
        tuple(w_image * i + w_mask * m for i, m in zip(image.down, mask.down, strict=True)),
        w_image * image.mid + w_mask * mask.mid,
    ),
    "consistency_loss": lambda mask, mix: (mask - mix).square().flatten(1).mean(1),
    "augmented_latents": lambda noisy, sigmas, noise, mix: noisy + sigmas.view(-1, 1, 1, 1) * (noise - mix),
}


@pytest.mark.parametrize("removed", WITHOUT_DETACH)
def test_removing_a_stop_gradient_is_noticed(make_networks, make_batch, monkeypatch, removed):
    """Mutation check of the test above: without its detach, a term changes a gradient or walks a graph that is gone."""
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    official_step(controlnet, unet, batch, step=40, num_steps=60)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    monkeypatch.setattr(step_module, removed, WITHOUT_DETACH[removed])
    try:
        siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, SWITCHES), 1 / 3)
    except RuntimeError as error:
        if "backward through the graph a second time" in str(error):
            return
        raise
    assert worst_difference(gradients(controlnet, unet), theirs) > 1e-6


def test_frozen_parts_get_no_gradient(make_networks, make_batch):
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, SWITCHES), 1 / 3)
    trained = {id(p) for module in decoder_modules(unet).values() for p in module.parameters()}
    for name, parameter in unet.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trained), name
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in controlnet.parameters())


def decoder_gradient(unet):
    return torch.cat([p.grad.flatten() for module in decoder_modules(unet).values() for p in module.parameters()])


def test_the_image_loss_gives_the_decoder_nothing(make_networks, make_batch, monkeypatch):
    """The L_i column of the table: scaling L_i alone changes the ControlNet's gradient and not the decoder's."""
    results = {}
    original = step_module.denoising_loss
    for factor in (1.0, 3.0):
        controlnet, unet = make_networks()
        batch = make_batch(GATED["none"])
        calls = []

        def scaled(pred, noise, factor=factor, calls=calls):
            calls.append(1)
            return original(pred, noise) * (factor if len(calls) == 1 else 1.0)  # the image branch comes first

        monkeypatch.setattr(step_module, "denoising_loss", scaled)
        siamese_step(controlnet, unet, batch, loss_weights(30, 60, batch.timesteps, SWITCHES), 1 / 3)
        control = torch.cat([p.grad.flatten() for p in controlnet.parameters()])
        results[factor] = (decoder_gradient(unet), control)
    assert torch.equal(results[1.0][0], results[3.0][0])
    assert not torch.allclose(results[1.0][1], results[3.0][1])


def test_with_every_switch_off_the_terms_are_those_of_controlnet(make_networks, make_batch):
    batch = make_batch(GATED["all"])
    controlnet, unet = make_networks()
    alone = mask_step(controlnet, unet, batch, 1 / 3)
    expected = gradients(controlnet, unet)
    controlnet, unet = make_networks()
    off = LossWeights(image=0.0, mask=1.0, consistency=0.0, online=torch.zeros(3, dtype=torch.bool))
    terms = siamese_step(controlnet, unet, batch, off, 1 / 3)
    assert torch.allclose(terms["mask"], alone, rtol=1e-12)
    assert worst_difference(gradients(controlnet, unet), expected) < 1e-10


def test_mask_step_is_the_loss_of_a_stock_controlnet(make_networks, make_batch):
    batch = make_batch(GATED["none"])
    controlnet, unet = make_networks(hint="hi")
    loss = mask_step(controlnet, unet, batch, 1.0)
    down, mid = controlnet(batch.noisy_latents, batch.timesteps, batch.context, batch.mask_hint, return_dict=False)
    predicted = unet(
        batch.noisy_latents, batch.timesteps, batch.context,
        down_block_additional_residuals=down, mid_block_additional_residual=mid,
    ).sample  # fmt: skip
    assert torch.equal(loss, (predicted - batch.noise).square().flatten(1).mean(1).detach())


def test_ungated_samples_have_no_part_in_the_online_term(make_networks, make_batch):
    batch = make_batch([100, 500, 600])
    controlnet, unet = make_networks()
    terms = siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, SWITCHES), 1 / 3)
    assert terms["online"][0] > 0
    assert terms["online"][1:].tolist() == [0, 0]
