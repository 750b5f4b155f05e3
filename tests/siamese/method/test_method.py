"""Residuals, losses, weights and hint encoders in closed form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from siamese.config.sections import ControlNetRow, Generator, SiameseRow
from siamese.method.control import control_residuals, mix_residuals, unet_decode, unet_encode
from siamese.method.hint import DenseHintEncoder, PatchMerging
from siamese.method.loss_weights import loss_weights
from siamese.method.losses import augmented_latents, consistency_loss, mse_per_sample
from tests.contracts.imports import ROOT

ROW = SiameseRow(method="siamese", hint="dhi", hint_widths=(4, 8, 16))


def test_split_networks_equal_the_stock_forward(make_networks, make_batch):
    controlnet, unet = make_networks()
    b = make_batch([1, 500, 999])
    features = controlnet.controlnet_cond_embedding(b.mask_hint)
    residuals = control_residuals(controlnet, b.noisy_latents, b.timesteps, b.context, features)
    down, mid = controlnet(b.noisy_latents, b.timesteps, b.context, b.mask_hint, return_dict=False)
    assert all(torch.equal(a, c) for a, c in zip(residuals, (*down, mid), strict=True))
    ours = unet_decode(unet, unet_encode(unet, b.noisy_latents, b.timesteps, b.context), residuals, b.context)
    stock = unet(
        b.noisy_latents, b.timesteps, b.context, down_block_additional_residuals=down, mid_block_additional_residual=mid
    ).sample
    assert torch.equal(ours, stock)


def test_zero_convolutions_start_as_the_base_model(make_networks, make_batch):
    controlnet, unet = make_networks(perturb=False)
    b = make_batch([1, 500, 999])
    features = controlnet.controlnet_cond_embedding(b.mask_hint)
    assert not features.any()
    residuals = control_residuals(controlnet, b.noisy_latents, b.timesteps, b.context, features)
    assert not any(tensor.any() for tensor in residuals)
    ours = unet_decode(unet, unet_encode(unet, b.noisy_latents, b.timesteps, b.context), residuals, b.context)
    assert torch.equal(ours, unet(b.noisy_latents, b.timesteps, b.context).sample)


def test_mixing_by_hand_and_the_mask_gets_no_gradient():
    image = torch.full((1, 1, 1, 1), 3.0, requires_grad=True)
    mask = torch.full((1, 1, 1, 1), 5.0, requires_grad=True)
    mixed = mix_residuals((image, image), (mask, mask), w_image=0.25, w_mask=2.0)
    assert [level.item() for level in mixed] == [0.25 * 3 + 2 * 5] * 2
    (mixed[0] + mixed[1]).sum().backward()
    assert image.grad.item() == 0.5
    assert mask.grad is None


def test_losses_by_hand():
    a, b = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 4.0], [3.0, 3.0]])
    assert mse_per_sample(a, b).tolist() == [2.0, 9.0]
    anchor = b.clone().requires_grad_()
    pulled = a.clone().requires_grad_()
    consistency_loss(pulled, anchor).sum().backward()
    assert anchor.grad is None
    assert pulled.grad.tolist() == [[0.0, -2.0], [-3.0, -3.0]]
    assert mse_per_sample(a.bfloat16(), b.bfloat16()).dtype == torch.float32


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(0, 1000))
def test_augmented_latents_are_the_two_steps_of_the_paper(t, seed):
    """Eq. 11 then Eq. 12: predict z_0' with the image branch, add the same noise again."""
    rng = torch.Generator().manual_seed(seed)
    alpha = torch.linspace(0.9991, 0.0047, 1000, dtype=torch.float64)[t]
    sigma, noisy, noise, pred = (
        (1 - alpha).sqrt(),
        *(torch.randn((1, 4, 4, 4), generator=rng, dtype=torch.float64) for _ in range(3)),
    )
    clean = (noisy - sigma * pred) / alpha.sqrt()
    twice = alpha.sqrt() * clean + sigma * noise
    assert torch.allclose(augmented_latents(noisy, sigma[None], noise, pred), twice, rtol=1e-9)


def test_the_gate_opens_at_the_documented_boundaries():
    t = torch.tensor([0, 200, 201, 999])
    assert loss_weights(1000, 3000, t, ROW).online.tolist() == [False] * 4
    assert loss_weights(1001, 3000, t, ROW).online.tolist() == [True, True, False, False]
    off = ROW.model_copy(update={"online_augmentation": False})
    assert not loss_weights(2999, 3000, t, off).online.any()


def test_weights_follow_the_switches():
    t = torch.tensor([0])
    assert [loss_weights(k, 10, t, ROW).image for k in (0, 5, 9)] == [0.0, 0.5, 0.9]
    constant = ROW.model_copy(update={"image_weight": "constant", "w_c": 0.5, "w_m": 0.25})
    weights = loss_weights(0, 10, t, constant)
    assert (weights.image, weights.consistency, weights.mask) == (1.0, 0.5, 0.25)
    silent = ROW.model_copy(update={"noise_consistency": False})
    assert loss_weights(5, 10, t, silent).consistency == 0.0


def test_the_image_branch_runs_when_either_part_needs_it():
    assert ROW.siamese is ROW
    both_off = ROW.model_copy(update={"noise_consistency": False, "online_augmentation": False})
    assert both_off.siamese is None
    assert ControlNetRow(method="controlnet", hint="hi", hint_widths=(4, 8)).siamese is None


def test_dense_hint_encoder_of_stable_diffusion_has_the_documented_shape_and_size():
    encoder = DenseHintEncoder((16, 32, 64, 128, 256), 320)
    assert encoder(torch.rand(1, 3, 64, 64)).shape == (1, 320, 8, 8)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(3.26, abs=0.005)


def test_as_many_widths_as_the_latents_ask_for():
    dense = ROW.model_copy(update={"hint_widths": (16, 32, 64, 128, 256)})
    plain = ControlNetRow(method="controlnet", hint="hi", hint_widths=(16, 32, 96, 256))
    assert dense.hint_problem(8) is None
    assert plain.hint_problem(8) is None
    assert dense.hint_problem(4).startswith("hint_widths: must be 4 widths for hint dhi")
    assert plain.hint_problem(16).endswith("makes latents 16 times smaller; got 4")


def test_patch_merging_gathers_in_the_documented_order():
    merge = PatchMerging(1)
    merge.norm = torch.nn.Identity()
    image = torch.arange(16.0).view(1, 1, 4, 4)
    merge.project = torch.nn.Identity()
    assert merge(image)[0, :, 0, 0].tolist() == [0, 4, 1, 5]


def test_widths_must_double():
    with pytest.raises(ValueError, match="double"):
        SiameseRow(method="siamese", hint="dhi", hint_widths=(4, 8, 24))


PRESET = YAML(typ="safe").load(ROOT / "presets/ablations.yaml")["generators"]


def ablation(name: str):
    return TypeAdapter(Generator).validate_python(PRESET[name], strict=False)


@pytest.mark.parametrize(
    ("name", "dense", "online", "consistency"),
    [
        ("setting1", False, False, False),
        ("setting2", True, False, False),
        ("setting3", False, True, False),
        ("setting4", False, False, True),
        ("setting5", False, True, True),
        ("setting6", True, True, False),
        ("setting7", True, False, True),
        ("ours", True, True, True),
    ],
)
def test_every_setting_of_table_5_is_a_row(name, dense, online, consistency):
    row = ablation(name)
    assert row.hint == ("dhi" if dense else "hi")
    assert (row.siamese is not None) == (online or consistency)
    if row.siamese:
        weights = loss_weights(2000, 3000, torch.tensor([100]), row.siamese)
        assert weights.online.tolist() == [online]
        assert weights.consistency == float(consistency)


@pytest.mark.parametrize("w_c", ["0.0", "0.5", "1.0", "1.5", "2.0"])
def test_every_weight_of_table_6_is_a_row(w_c):
    row = ablation("ours" if w_c == "1.0" else f"w_c_{w_c.replace('.', '_')}")
    assert loss_weights(2000, 3000, torch.tensor([100]), row.siamese).consistency == float(w_c)
    assert row.model_copy(update={"w_c": 1.0}) == ablation("ours")


def test_the_dense_hint_encoder_has_the_published_size():
    """Spec: 3.26 M parameters at the widths of Stable Diffusion 1.5; output 320 x 48 x 48 for 384 px."""
    encoder = DenseHintEncoder((16, 32, 64, 128, 256), 320)
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(3.26e6, rel=0.005)
    assert encoder(torch.zeros(1, 3, 384, 384)).shape == (1, 320, 48, 48)
