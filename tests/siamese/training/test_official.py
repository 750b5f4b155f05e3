"""Checkpoints of the official code, loaded into our networks weight by weight."""

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from data.pairs.errors import UserError
from siamese.base.single_file import write_stable_diffusion
from siamese.method.control import control_residuals, decoder_modules, unet_decode, unet_encode
from siamese.method.hint import DenseHintEncoder
from siamese.training.import_official import load_official
from tests.siamese.base import ldm_layout
from tests.siamese.base.ldm_layout import UNET
from tests.siamese.base.test_single_file import double, draw, tags, weights_below

TEACHER_OF_ADC = {  # names in checkpoints of ADC's code, which is otherwise laid out alike
    name: torch.rand(3)
    for name in (
        "image_control_model.zero_convs.0.0.bias",
        f"{UNET}image_output_blocks.0.0.bias",
        f"{UNET}image_out.2.bias",
    )
}


@pytest.fixture(scope="module", params=["hi", "dhi"])
def hint(request):
    return request.param


@pytest.fixture(scope="module")
def state(hint):
    return ldm_layout.checkpoint(hint=hint)


def build(hint):
    """Return untrained networks of the same widths as the checkpoint."""
    unet = UNet2DConditionModel(
        block_out_channels=ldm_layout.WIDTHS, cross_attention_dim=ldm_layout.CONTEXT, sample_size=8
    )
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96, 256))
    if hint == "dhi":
        controlnet.controlnet_cond_embedding = DenseHintEncoder(ldm_layout.DENSE_WIDTHS, ldm_layout.WIDTHS[0])
    return controlnet.eval(), unet.eval()


@pytest.fixture
def networks(hint):
    return build(hint)


def frozen_part(unet):
    trained = tuple(f"{name}." for name in decoder_modules(unet))
    return {name: value.clone() for name, value in unet.state_dict().items() if not name.startswith(trained)}


def trained_source(state):
    return weights_below(state, ("control_model.", f"{UNET}output_blocks.", f"{UNET}out."))


def test_every_trained_weight_is_loaded_and_no_other(state, networks):
    controlnet, unet = networks
    before = frozen_part(unet)
    load_official(state | TEACHER_OF_ADC, controlnet, unet)
    decoder = [value for module in decoder_modules(unet).values() for value in module.state_dict().values()]
    expected = tags(trained_source(state))
    assert tags([*controlnet.state_dict().values(), *decoder]) == expected
    assert len(set(expected)) == len(expected)
    after = frozen_part(unet)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.heavy
@torch.inference_mode()
def test_the_networks_compute_what_the_checkpoint_says(state, hint, tmp_path):
    write_stable_diffusion(state, tmp_path, ema=False)
    base = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet")
    for module in decoder_modules(base).values():
        module.load_state_dict({name: torch.zeros_like(value) for name, value in module.state_dict().items()})
    controlnet, _ = build(hint)
    load_official({f"_forward_module.{name}": value for name, value in state.items()}, controlnet, base)
    controlnet.double(), base.double()

    x, t, context, mask = draw(2, 4, 8, 8), torch.tensor([3, 800]), draw(2, 5, ldm_layout.CONTEXT), draw(2, 3, 64, 64)
    expected = ldm_layout.control(double(state), x, t, context, mask)
    residuals = control_residuals(controlnet, x, t, context, controlnet.controlnet_cond_embedding(mask))
    for ours, theirs in zip(residuals, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    noise = unet_decode(base, unet_encode(base, x, t, context), residuals, context)
    torch.testing.assert_close(noise, ldm_layout.unet(double(state), x, t, context, expected), rtol=1e-5, atol=1e-5)


def lines(state, hint):
    with pytest.raises(UserError) as caught:
        load_official(state, *build(hint))
    return str(caught.value)


def test_what_a_checkpoint_lacks_is_named_at_once(state, hint):
    lost = {
        "control_model.zero_convs.3.0.bias": "controlnet_down_blocks.3.bias",
        "control_model.middle_block_out.0.weight": "controlnet_mid_block.weight",
        "control_model.time_embed.2.bias": "time_embedding.linear_2.bias",
        f"{UNET}out.0.weight": "conv_norm_out.weight",
        f"{UNET}output_blocks.7.1.norm.bias": "up_blocks.2.attentions.1.norm.bias",
    }
    lost |= {
        "hi": {"control_model.input_hint_block.8.bias": "controlnet_cond_embedding.blocks.3.bias"},
        "dhi": {
            "control_model.input_hint_block.0.patch_merge2.norm.bias": "controlnet_cond_embedding.layers.7.norm.bias"
        },
    }[hint]
    told = lines({name: value for name, value in state.items() if name not in lost}, hint)
    assert "6 weights do not fit" in told
    assert all(f"missing: {name}" in told for name in lost.values())


def test_what_a_checkpoint_has_too_much_is_named_at_once(state, hint):
    extra = ["control_model.middle_block.9.bias", "control_model.zero_convs.0.1.bias", f"{UNET}out.3.bias",
             f"{UNET}output_blocks.12.0.bias", "control_model.input_hint_block.0.layer6.conv1.bias"]  # fmt: skip
    told = lines(state | {name: torch.rand(3) for name in extra} | {f"{UNET}out.2.bias": torch.ones(5)}, hint)
    assert "6 weights do not fit" in told
    assert all(f"unexpected: {name}" in told for name in extra)
    assert f"{UNET}out.2.bias has the shape (5,), not (4,)" in told


def test_a_refused_checkpoint_changes_nothing(state, networks):
    controlnet, unet = networks
    before = [value.clone() for network in networks for value in network.state_dict().values()]
    with pytest.raises(UserError):
        load_official(state | {f"{UNET}out.2.bias": torch.ones(5)}, controlnet, unet)
    after = [value for network in networks for value in network.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_hint_encoders_of_different_kinds_are_refused(state, hint):
    told = lines(state, {"hi": "dhi", "dhi": "hi"}[hint])
    first, second = told.split(", but ")
    assert f"(hint: {hint})" in first
    assert f"(hint: {hint})" not in second


@pytest.mark.heavy
def test_a_base_model_is_no_trained_checkpoint(state, hint):
    assert "control_model.*" in lines({n: v for n, v in state.items() if not n.startswith("control_model.")}, hint)
    assert "output_blocks.*" in lines({n: v for n, v in state.items() if n.startswith("control_model.")}, hint)
