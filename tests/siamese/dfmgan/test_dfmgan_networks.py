"""DFMGAN's networks: sizes as published, layers against their equations, the gate."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from data.pairs.errors import UserError
from siamese.base.devices import seeded
from siamese.config.dfmgan import DfmganRow
from siamese.dfmgan.discriminator import Discriminator, batch_deviation
from siamese.dfmgan.draws import as_pool, network_side, pixel_noise
from siamese.dfmgan.generator import Backbone, Defect, Mapping, Normal, Residuals, channels, noise_sides, synthesise
from siamese.dfmgan.layers import EqualLinear, StyledConv, double, modulated, smooth
from siamese.dfmgan.losses import squashed
from tests.siamese.dfmgan.conftest import ROW

FULL = DfmganRow(method="dfmgan")


def weights(network):
    return sum(parameter.numel() for parameter in network.parameters())


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_sizes_are_those_of_the_released_networks():
    with torch.device("meta"):
        assert weights(Backbone(FULL, 256)) == 22_666_210
        assert weights(Mapping(512, 2)) == 525_312
        assert weights(Normal(FULL, 256)) == 23_191_522
        assert weights(Discriminator(3, 256, 16384, 512)) == 24_001_089
        assert weights(Residuals(FULL, 256)) == 3_144_391
        assert weights(Defect(FULL, 256)) == 3_669_703
        assert weights(Discriminator(4, 256, 4096, 128)) == 1_502_113
        assert weights(Backbone(FULL, 256)) + weights(Mapping(512, 8)) == 24_767_458  # 8 layers, as NVIDIA's log says
        assert Backbone(FULL, 256).styles == 14
        assert Residuals(FULL, 256).styles == 6
    assert channels(256, 16384, 512) == {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64}


@pytest.mark.parametrize("up", [False, True])
def test_modulation_is_that_of_the_weights_sample_by_sample(up):
    features, weight, styles = normal(3, 4, 5, 5), normal(6, 4, 3, 3, seed=1), normal(3, 4, seed=2)
    made = modulated(features, weight, styles, up=up)
    for index in range(3):
        own = weight * styles[index, None, :, None, None]
        own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        np.testing.assert_allclose(own.square().sum((1, 2, 3)), 1, atol=1e-6)
        alone = features[index : index + 1]
        if up:
            alone = smooth(functional.conv_transpose2d(alone, own.transpose(0, 1), stride=2), 1, gain=4.0)
        else:
            alone = functional.conv2d(alone, own, padding=1)
        torch.testing.assert_close(made[index : index + 1], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(modulated(features, weight, 7 * styles, up=up), made, rtol=1e-6, atol=1e-9)
    assert made.shape[2] == (10 if up else 5)


def test_the_filter_keeps_what_is_constant_and_doubles_bilinearly():
    constant = torch.ones(1, 2, 6, 6, dtype=torch.float64)
    np.testing.assert_allclose(smooth(constant, 2)[..., 2:-2, 2:-2], 1, rtol=1e-12)
    images = normal(2, 3, 6, 6)
    expected = functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(double(images)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=0, atol=1e-12)


def test_a_rate_factor_changes_the_step_and_not_the_map():
    plain, slow = (seeded(lambda f=f: EqualLinear(4, 3, bias=1.0, lr_factor=f), 0) for f in (1.0, 0.01))
    features = normal(2, 4).float()
    torch.testing.assert_close(plain(features), slow(features))
    np.testing.assert_allclose(slow.weight.detach(), 100 * plain.weight.detach(), rtol=1e-5)
    np.testing.assert_allclose(plain(torch.zeros(1, 4)).detach(), 1)


def test_half_precision_is_cut():
    layer = seeded(lambda: StyledConv(2, 2, 4), 0).to(torch.bfloat16)
    large = layer(torch.full((1, 2, 4, 4), 1e4, dtype=torch.bfloat16), torch.ones(1, 4, dtype=torch.bfloat16), 0.0)
    assert large.abs().max() == 256


def test_the_deviation_is_within_groups_of_four():
    features = normal(8, 3, 2, 2)
    groups = [features[i::2] for i in range(2)]
    expected = [(group.var(0, correction=0) + 1e-8).sqrt().mean() for group in groups]
    for index, value in enumerate(batch_deviation(features)[:, 0, 0, 0]):
        assert float(value) == pytest.approx(float(expected[index % 2]), rel=1e-5)
    assert batch_deviation(features[:1]).flatten()[0] == pytest.approx(1e-4)
    assert batch_deviation(features[:5]).shape == (5, 1, 2, 2)  # no group of four divides it


@pytest.fixture
def parts():
    """Return stage 1, the defect's part with noise of its own strength, styles and noise of two samples."""
    stage_one, defect = seeded(lambda: (Normal(ROW, 16), Defect(ROW, 16)), 0)
    for conv in [*stage_one.synthesis.convs, *defect.residuals.convs]:
        for layer in conv:
            torch.nn.init.constant_(layer.noise_strength, 0.3)
    codes = torch.randn(2, 2, 6, 8, generator=torch.Generator().manual_seed(1))
    noises = pixel_noise(noise_sides(stage_one.synthesis, defect.residuals), 2, 0, "cpu")
    return stage_one.synthesis, defect.residuals, codes, noises


def with_mask(residuals, bias):
    """Set the mask's bias, far enough to decide its sign everywhere."""
    torch.nn.init.constant_(residuals.to_mask.bias, bias)


def test_the_gate_is_all_or_nothing(parts):
    backbone, residuals, codes, noises = parts
    twin, none = synthesise(backbone, codes[0], noises)
    assert none is None
    with_mask(residuals, -1e4)
    closed, mask = synthesise(backbone, codes[0], noises, residuals, codes[1, :, :4])
    assert (mask[..., 1:-1, 1:-1] < 0).all()
    assert torch.equal(closed, twin)
    with_mask(residuals, 1e4)
    opened, mask = synthesise(backbone, codes[0], noises, residuals, codes[1, :, :4])
    assert (mask >= 0).all()
    assert not torch.isclose(opened, twin).any(1).all()
    soft, _ = synthesise(backbone, codes[0], noises, residuals, codes[1, :, :4], "soft")
    assert (soft - opened).abs().max() > 1


def test_open_blocks_add_their_features(parts, monkeypatch):
    """At 8 px, the first residual block: what the next block reads is S + e."""
    backbone, residuals, codes, noises = parts
    with_mask(residuals, 1e4)
    seen = []
    backbone.convs[2][0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    residuals.convs[1][0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    synthesise(backbone, codes[0], noises, residuals, codes[1, :, :4])
    start = backbone.convs[0][0](backbone.constant.expand(2, -1, -1, -1), codes[0, :, 0], noises[0])
    plain, changed = start, start
    for place in (0, 1):
        plain = backbone.convs[1][place](plain, codes[0, :, 1 + place], noises[1 + place])
        changed = residuals.convs[0][place](changed, codes[1, :, place], noises[5 + place])
    assert all(torch.allclose(features, plain + changed, atol=1e-6) for features in seen)
    assert len(seen) == 2  # both blocks of the next resolution


def test_the_image_does_not_move_the_mask_and_the_pair_does(parts):
    backbone, residuals, codes, noises = parts
    image, mask = synthesise(backbone, codes[0], noises, residuals, codes[1, :, :4])
    (through_gate,) = torch.autograd.grad(image.sum(), residuals.to_mask.weight, retain_graph=True, allow_unused=True)
    assert through_gate is None
    match = seeded(lambda: Discriminator(4, 16, 64, 8), 2)
    score = match(torch.cat([image, squashed(mask)], 1)).sum()
    (through_pair,) = torch.autograd.grad(score, residuals.to_mask.weight)
    assert through_pair.abs().max() > 0


def test_styles_go_to_the_layers_that_they_are_for(parts):
    """Each of the four vectors of the defect changes something; the third is the mask's and the second block's."""
    backbone, residuals, codes, noises = parts
    whole = synthesise(backbone, codes[0], noises, residuals, codes[1, :, :4])
    masks = []
    for place in range(4):
        other = codes[1, :, :4].clone()
        other[:, place] = codes[1, :, 5]
        masks.append(not torch.equal(synthesise(backbone, codes[0], noises, residuals, other)[1], whole[1]))
    assert masks == [True, True, True, False]


def test_real_masks_are_cut_after_the_cubic_resize(data):
    images, masks = (np.repeat(np.repeat(x, 2, 1), 2, 2) for x in (data.images, data.masks))
    pool = as_pool(images, masks, 16, mirror=False)
    np.testing.assert_array_equal(pool.masks, data.masks > 0)
    assert pool.images.shape == (5, 16, 16, 3)
    levels = as_pool(images, masks * 255, 16, mirror=True)
    np.testing.assert_array_equal(levels.masks[:5], pool.masks)
    np.testing.assert_array_equal(levels.masks[5:], pool.masks[:, :, ::-1])
    np.testing.assert_array_equal(levels.images[5:], pool.images[:, :, ::-1])


def test_the_side_is_a_power_of_two():
    def side(size, **values):
        return network_side(DfmganRow(method="dfmgan", **values), np.zeros((1, *size, 3), np.uint8))

    assert [side((size, size), residual_from=8) for size in (384, 256, 64, 40)] == [256, 256, 64, 32]
    assert side((384, 384), side=128) == 128
    with pytest.raises(UserError, match="32 x 40 px are no squares"):
        side((32, 40))
    with pytest.raises(UserError, match="networks' images of 64 px") as caught:
        side((64, 64), match_base=32)
    assert caught.value.problems == (
        "residual_from: must be at most 32, got 64",
        "match_base: must be at least 64, got 32",
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"side": 96}, "side: must be a power of two, got 96"),
        ({"side": 64}, "residual_from: must be at most side / 2 = 32, got 64"),
        ({"residual_from": 24}, "residual_from: must be a power of two"),
        ({"side": 256, "match_base": 128}, "must be at least side = 256, got 128"),
        ({"steps": 100}, "set images1 and images2 instead"),
        ({"batch": 1}, "compares two halves of a batch"),
        ({"keep_best": True}, "Extra inputs"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        DfmganRow(method="dfmgan", **values)


def test_the_defaults_are_the_released_ones():
    assert FULL.own_training() == {"batch": 32, "lr": 0.0025}
    assert math.isclose(0.0002 * 256**2 / FULL.batch, 0.4096)
    quirks = (FULL.stage2_backbone, FULL.path_length, FULL.ms_on, FULL.ms_epsilon, FULL.ms_detach_codes, FULL.gate)
    assert quirks == ("raw", "backbone", "tanh", 0.0, False, "hard")
    assert (FULL.match_augment, FULL.mirror, FULL.lambda_ms, FULL.lambda_match) == (False, False, 0.1, 1.0)
