"""The training step against a literal copy of the official one, and the gradient table cell by cell."""

import pytest
import torch

from siamese.config.sections import SiameseRow
from siamese.method import step as step_module
from siamese.method.control import decoder_modules
from siamese.method.loss_weights import LossWeights, loss_weights
from siamese.method.step import TERMS, mask_step, siamese_step
from tests.siamese.method.mutate import step_without, stops
from tests.siamese.method.oracle import official_step

PAPER = SiameseRow(method="siamese", hint="dhi", hint_widths=(4, 8, 16))
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
@pytest.mark.parametrize(("k", "checkpointing"), [(0, False), (20, False), (21, False), (21, True), (60, False)])
def test_loss_and_gradients_equal_the_official_step(make_networks, make_batch, gated, k, checkpointing):
    controlnet, unet = make_networks()
    if checkpointing:
        controlnet.enable_gradient_checkpointing()
        unet.enable_gradient_checkpointing()
    batch = make_batch(GATED[gated])
    expected = official_step(controlnet, unet, batch, step=k, num_steps=60)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    weights = loss_weights(k, 60, batch.timesteps, PAPER)
    terms = siamese_step(controlnet, unet, batch, weights, 1 / 3)
    loss = sum(float(terms[name].mean()) * (weights.consistency if name == "consistency" else 1) for name in TERMS)
    assert loss == pytest.approx(float(expected), rel=1e-10)
    assert worst_difference(gradients(controlnet, unet), theirs) < 1e-10


def test_the_plain_hint_encoder_equals_the_official_step_too(make_networks, make_batch):
    controlnet, unet = make_networks(hint="hi")
    batch = make_batch(GATED["some"])
    official_step(controlnet, unet, batch, step=40, num_steps=60)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, PAPER), 1 / 3)
    assert worst_difference(gradients(controlnet, unet), theirs) < 1e-10


def test_the_image_branch_trains_the_decoder_if_asked(make_networks, make_batch):
    """The ablation of spec 1.4, row 6: as the official step, without the copy of the UNet."""
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    official_step(controlnet, unet, batch, step=40, num_steps=60, copy_unet=False)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    weights = loss_weights(40, 60, batch.timesteps, PAPER.model_copy(update={"image_branch_trains_decoder": True}))
    siamese_step(controlnet, unet, batch, weights, 1 / 3)
    assert worst_difference(gradients(controlnet, unet), theirs) < 1e-10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_direction_of_the_gradient(make_networks, make_batch, dtype):
    """With the loss scaled as GradScaler does; losses and z_t' stay in float32."""
    batch = type(make_batch([0]))(*(t.float() if t.is_floating_point() else t for t in make_batch(GATED["some"])))
    flat = {}
    for name, scale in (("float", 1.0), ("half", 1024.0)):
        controlnet, unet = (net.float() for net in make_networks())
        with torch.autocast("cpu", dtype, enabled=name == "half"):
            terms = siamese_step(
                controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, PAPER), torch.tensor(scale / 3)
            )
        assert all(term.dtype == torch.float32 for term in terms.values())
        flat[name] = torch.cat([gradient.flatten() for gradient in gradients(controlnet, unet).values()]) / scale
    assert torch.cosine_similarity(flat["half"], flat["float"], dim=0) > 0.999
    assert flat["half"].norm() == pytest.approx(float(flat["float"].norm()), rel=0.02)


def test_other_weights_reach_the_loss_as_in_the_official_step(make_networks, make_batch):
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    official_step(controlnet, unet, batch, step=40, num_steps=60, w_c=0.3, w_m=0.7)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    weights = loss_weights(40, 60, batch.timesteps, PAPER.model_copy(update={"w_c": 0.3, "w_m": 0.7}))
    siamese_step(controlnet, unet, batch, weights, 1 / 3)
    assert worst_difference(gradients(controlnet, unet), theirs) < 1e-10


@pytest.mark.parametrize(("module", "number"), stops())
def test_removing_any_one_stop_gradient_is_noticed(make_networks, make_batch, monkeypatch, module, number):
    """Mutation check: without it, a gradient differs, a graph is walked that is gone, or a log keeps a graph alive."""
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    official_step(controlnet, unet, batch, step=40, num_steps=60)
    theirs = gradients(controlnet, unet)
    zero(controlnet, unet)
    mutated = step_without(module, number, monkeypatch)
    weights = loss_weights(40, 60, batch.timesteps, PAPER)
    try:
        terms = mutated.siamese_step(controlnet, unet, batch, weights, 1 / 3)
    except RuntimeError as error:
        assert "backward through the graph a second time" in str(error)  # noqa: PT017
        return
    kept = any(term.requires_grad for term in terms.values())
    assert kept or worst_difference(gradients(controlnet, unet), theirs) > 1e-6


TABLE = {
    "mask": {"controlnet": True, "hint": True, "decoder": True, "frozen": False},
    "image": {"controlnet": True, "hint": True, "decoder": False, "frozen": False},
    "consistency": {"controlnet": True, "hint": True, "decoder": True, "frozen": False},
    "online": {"controlnet": True, "hint": True, "decoder": True, "frozen": False},
}


def only(term, monkeypatch):
    """Let one loss term count and no other; the step calls mse_per_sample for L_i, then L_m, then L_m'."""
    original, calls = step_module.mse_per_sample, []

    def weighted(pred, noise, lesion):
        calls.append(("image", "mask", "online")[len(calls)])
        return original(pred, noise, lesion) * (calls[-1] == term)

    monkeypatch.setattr(step_module, "mse_per_sample", weighted)


def group(name: str) -> str:
    if name.startswith("c."):
        return "hint" if "cond_embedding" in name else "controlnet"
    return "decoder" if name.startswith(("u.up_blocks", "u.conv_norm_out", "u.conv_out")) else "frozen"


@pytest.mark.parametrize("term", TABLE)
def test_the_gradient_table_cell_by_cell(make_networks, make_batch, monkeypatch, term):
    """Which parameters each loss term moves: the docstring of siamese/method/step.py, spec 1.2."""
    controlnet, unet = make_networks()
    batch = make_batch(GATED["all"])
    only(term, monkeypatch)
    switches = PAPER.model_copy(update={"w_c": 1.0 if term == "consistency" else 0.0})
    siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, switches), 1 / 3)
    moved = dict.fromkeys(TABLE[term], False)
    for name, gradient in gradients(controlnet, unet).items():
        moved[group(name)] |= bool(gradient.abs().sum() > 0)
    assert moved == TABLE[term]


def test_the_image_loss_acts_through_its_own_residuals_alone(make_networks, make_batch, monkeypatch):
    """At w_i = 0 L_i moves nothing, although c_m is part of its mixture."""
    controlnet, unet = make_networks()
    batch = make_batch(GATED["none"])
    only("image", monkeypatch)
    siamese_step(
        controlnet, unet, batch, loss_weights(0, 60, batch.timesteps, PAPER.model_copy(update={"w_c": 0.0})), 1 / 3
    )
    assert not any(gradient.any() for gradient in gradients(controlnet, unet).values())


def test_frozen_parts_get_no_gradient(make_networks, make_batch):
    controlnet, unet = make_networks()
    batch = make_batch(GATED["some"])
    siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, PAPER), 1 / 3)
    trained = {id(p) for module in decoder_modules(unet).values() for p in module.parameters()}
    for name, parameter in unet.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trained), name
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in controlnet.parameters())


def decoder_gradient(unet):
    return torch.cat([p.grad.flatten() for module in decoder_modules(unet).values() for p in module.parameters()])


def test_the_image_loss_gives_the_decoder_nothing(make_networks, make_batch, monkeypatch):
    """The L_i column of the table: scaling L_i alone changes the ControlNet's gradient and not the decoder's."""
    results = {}
    original = step_module.mse_per_sample
    for factor in (1.0, 3.0):
        controlnet, unet = make_networks()
        batch = make_batch(GATED["none"])
        calls = []

        def scaled(pred, noise, lesion, factor=factor, calls=calls):
            calls.append(1)
            return original(pred, noise, lesion) * (factor if len(calls) == 1 else 1.0)  # the image branch comes first

        monkeypatch.setattr(step_module, "mse_per_sample", scaled)
        siamese_step(controlnet, unet, batch, loss_weights(30, 60, batch.timesteps, PAPER), 1 / 3)
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
    off = LossWeights(
        image=0.0, mask=1.0, consistency=0.0, image_trains_decoder=False, online=torch.zeros(3, dtype=torch.bool)
    )
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
    terms = siamese_step(controlnet, unet, batch, loss_weights(40, 60, batch.timesteps, PAPER), 1 / 3)
    assert terms["online"][0] > 0
    assert terms["online"][1:].tolist() == [0, 0]
