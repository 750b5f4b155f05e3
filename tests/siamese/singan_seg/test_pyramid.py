"""SinGAN-Seg's parts: sizes, resizing, networks, losses, and pyramids side by side against one by one."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from data.pairs.errors import UserError
from siamese.config.sections import SinganSegRow
from siamese.singan_seg.geometry import pyramid_of, resize, resize_weights, scales_of
from siamese.singan_seg.losses import mixed_with, penalty, per_pyramid
from siamese.singan_seg.networks import Discriminator, Generator, apart, first_states, layer_stack, load_together
from siamese.singan_seg.scale import ScaleTraining, begin_pyramids, train_pyramids
from siamese.singan_seg.train import four_channels

PAPER = SinganSegRow(method="singan_seg")
TOY = {"min_size": 16, "max_size": 64}
TINY = SinganSegRow(
    method="singan_seg", min_size=8, max_size=16, factor=0.5, layers=3, width=4, width_most=8, iterations=3, lr=5e-3,
    parallel=2,
)  # fmt: skip


def test_sizes_of_the_scales():
    paper = scales_of(PAPER, 384, 384)
    assert paper.factor == pytest.approx(0.7743, abs=1e-4)
    assert [side for side, _ in paper.sides] == [26, 33, 42, 54, 70, 90, 117, 150, 194, 250]
    assert paper.widths == (32,) * 4 + (64,) * 4 + (128,) * 2
    small = scales_of(PAPER.model_copy(update=TOY), 64, 64)
    assert [side for side, _ in small.sides] == [17, 21, 26, 33, 41, 51, 64]
    exact = scales_of(PAPER.model_copy(update={**TOY, "exact_sides": True}), 64, 64)
    assert [side for side, _ in exact.sides] == [16, 21, 26, 32, 41, 51, 64]
    toy = scales_of(PAPER.model_copy(update={**TOY, "factor": 0.5}), 64, 64)
    assert toy.factor == pytest.approx(0.63, abs=1e-4)
    assert [side for side, _ in toy.sides] == [16, 26, 41, 64]
    with pytest.raises(UserError, match="48 x 64 px are too small"):
        scales_of(PAPER, 48, 64)


def test_numbers_of_weights():
    with torch.device("meta"):
        counts = {
            width: [sum(p.numel() for p in kind(PAPER, width).parameters()) for kind in (Generator, Discriminator)]
            for width in (32, 64, 128)
        }
    assert counts == {32: [30_340, 29_473], 64: [115_972, 114_241], 128: [453_124, 449_665]}
    whole = np.sum([counts[width] for width in scales_of(PAPER, 384, 384).widths], axis=0)
    assert whole.tolist() == [1_491_496, 1_474_186]


def test_resizing_is_the_antialiased_cubic_away_from_the_border():
    rows = torch.rand(5, 40, dtype=torch.float64)
    ours = rows @ resize_weights(40, 0.5, 20).T
    theirs = functional.interpolate(rows[:, None, None], (1, 20), mode="bicubic", antialias=True)[:, 0, 0]
    assert torch.allclose(ours[:, 3:-3], theirs[:, 3:-3], atol=1e-6)
    ramp = torch.arange(30, dtype=torch.float64)
    larger = resize_weights(30, 1.7, 51) @ ramp
    expected = (torch.arange(51) + 0.5) / 1.7 - 0.5  # by the scale, not by 51 / 30
    assert torch.allclose(larger[5:-5], expected[5:-5].double(), atol=1e-9)
    assert torch.allclose(resize_weights(30, 0.37, 12).sum(1), torch.ones(12, dtype=torch.float64))
    flat = torch.full((1, 4, 9, 9), 0.25)
    assert torch.allclose(resize(flat, 1.3, (11, 11), PAPER.model_copy(update={"requantize": False})), flat[0, 0, 0, 0])


def test_requantising_cuts_to_levels_and_its_switch_is_the_identity():
    images = torch.rand(1, 4, 12, 12) * 2 - 1
    cut, plain = (resize(images, 1.0, (12, 12), PAPER.model_copy(update={"requantize": on})) for on in (True, False))
    assert torch.allclose(plain, images, atol=1e-6)
    below = images - cut
    assert below.min() > -1e-5
    assert 0.5 / 255 < below.max() <= 2 / 255 + 1e-5
    levels = (cut + 1) / 2 * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)


def test_a_nearest_mask_gets_no_grey_rim():
    images = torch.cat([torch.rand(1, 3, 20, 20), (torch.rand(1, 1, 20, 20) > 0.5).float()], 1) * 2 - 1
    scales = scales_of(TINY, 20, 20)
    cubic, nearest = (
        pyramid_of(images, scales, TINY.model_copy(update={"mask_resize": kind})) for kind in ("cubic", "nearest")
    )
    assert all(set(level[0, 3].unique().tolist()) == {-1.0, 1.0} for level in nearest)
    assert len(cubic[0][0, 3].unique()) > 2
    assert torch.equal(cubic[0][0, :3], nearest[0][0, :3])
    assert [level.shape[-1] for level in cubic] == [9, 12, 16]


def test_a_pixel_sees_five_others_each_way():
    net = Generator(PAPER, 4).double().eval()
    image = torch.rand(1, 4, 20, 20, dtype=torch.float64)
    changed = image.clone()
    changed[..., 10, 10] += 1
    zero = torch.zeros_like(image)
    difference = (net(image, zero) - net(changed, zero)).abs().sum(1)[0] > 0
    assert net(image, zero).shape == image.shape
    reached = np.argwhere(difference.numpy())
    assert reached.min(0).tolist() == [5, 5]
    assert reached.max(0).tolist() == [15, 15]
    assert Discriminator(PAPER, 4)(image.float()).shape == (1, 1, 10, 10)


def test_penalty_of_a_linear_discriminator():
    v = torch.randn(2, 4, dtype=torch.float64)
    images = torch.randn(1, 8, 6, 6, dtype=torch.float64)

    def linear(x):
        return (x.unflatten(1, (2, 4)) * v[None, :, :, None, None]).sum(2)

    found = penalty(linear, images, 2, by="pixel")
    assert torch.allclose(found, (v.norm(dim=1) - 1) ** 2, rtol=0, atol=1e-14)

    def one_pixel(x):
        return linear(x)[..., 2:3, 3:4]

    squared = (v.norm(dim=1) - 1) ** 2
    assert torch.allclose(penalty(one_pixel, images, 2, by="image"), squared)
    assert torch.allclose(penalty(one_pixel, images, 2, by="pixel"), (squared + 35) / 36)


def test_terms_are_of_each_pyramid_by_itself():
    values = torch.arange(24.0).view(1, 6, 2, 2)
    assert per_pyramid(values, 2).tolist() == [5.5, 17.5]
    mixed = mixed_with(torch.ones(1, 8, 1, 1), torch.zeros(1, 8, 1, 1), torch.tensor([0.25, 0.75]))
    assert mixed.flatten().tolist() == [0.25] * 4 + [0.75] * 4


IDS = ("a", "b", "c")


@pytest.fixture(scope="module")
def reals():
    """Return three pairs of 16 px as (1, 12, 16, 16) of float64."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    masks = np.zeros((3, 16, 16), np.uint8)
    masks[:, 3:9, 4:11] = 1
    return four_channels(images, masks).double()


def trained(reals, ids, row=TINY):
    """Return pyramids of these pairs in float64, and their terms."""
    places = [IDS.index(name) for name in ids]
    own = reals.unflatten(1, (3, 4))[:, places].flatten(1, 2)
    scales, terms = scales_of(row, 16, 16), []
    levels = pyramid_of(own, scales, row)
    return train_pyramids(levels, row, scales, ids, 0, lambda step, found, training: terms.append(found)), terms


@pytest.fixture(scope="module")
def three(reals):
    return trained(reals, IDS)


@pytest.mark.parametrize("changes", [{}, {"g_steps": 2, "penalty": "image", "rec_noise": "fixed", "d_steps": 1}])
def test_side_by_side_is_one_by_one(reals, changes):
    row = TINY.model_copy(update=changes)
    whole, terms = trained(reals, IDS, row)
    assert len(terms) == 3 * TINY.iterations
    for place, name in enumerate(IDS):
        alone, own_terms = trained(reals, (name,), row)
        torch.testing.assert_close(torch.stack(own_terms)[..., 0], torch.stack(terms)[..., place], rtol=0, atol=1e-12)
        for together, single in zip(whole.generators, alone.generators, strict=True):
            states = apart(together, 3)[place], apart(single, 1)[0]
            assert all(torch.allclose(states[0][key], states[1][key], rtol=0, atol=1e-12) for key in states[1])
        torch.testing.assert_close(alone.first_noise[0, 0], whole.first_noise[0, place], rtol=0, atol=0)


def test_the_order_of_pairs_does_not_matter(reals, three):
    turned, _ = trained(reals, IDS[::-1])
    for one, other in zip(three[0].generators, turned.generators, strict=True):
        for ours, theirs in zip(apart(one, 3), reversed(apart(other, 3)), strict=True):
            assert all(torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-12) for key in ours)


def test_gradients_side_by_side_with_the_penalty(reals):
    """The second derivatives too: of each pyramid they are those that it has alone."""
    row = TINY
    whole = Discriminator(row, 4, 3).double()
    load_together(whole, states := first_states(Discriminator, row, 4, IDS, 0, 0))
    penalty(whole, reals, 3, by="pixel").sum().backward()
    for place in range(3):
        alone = Discriminator(row, 4).double()
        load_together(alone, [states[place]])
        penalty(alone, reals[:, 4 * place : 4 * place + 4], 1, by="pixel").sum().backward()
        for ours, theirs in zip(whole.parameters(), alone.parameters(), strict=True):
            if theirs.grad is not None:
                torch.testing.assert_close(ours.grad.chunk(3)[place], theirs.grad, rtol=0, atol=1e-12)


def test_the_chain_of_z_star_and_the_strength_of_noise(reals, three):
    pyramids, _ = three
    rebuilt = pyramids.sample(None)

    def any_noise(scale, channels):
        return torch.randn(1, 3 * channels, *pyramids.scales.sides[scale], dtype=torch.float64)

    assert torch.equal(pyramids.sample(any_noise, start=3), rebuilt)
    assert not torch.equal(pyramids.sample(any_noise, start=2), rebuilt)
    missing = pyramid_of(reals, pyramids.scales, TINY)[1] - pyramids.before(1, None)
    by_hand = [0.1 * missing[0, 4 * k : 4 * k + 4].pow(2).mean().sqrt() for k in range(3)]
    assert torch.allclose(pyramids.amplitudes[1], torch.stack(by_hand))
    assert pyramids.amplitudes[0].tolist() == [1, 1, 1]
    assert torch.equal(pyramids.before(0, None), torch.zeros_like(pyramids.before(0, None)))


def test_a_scale_of_the_same_width_starts_from_the_weights_before(reals):
    scales = scales_of(TINY, 16, 16)
    levels = pyramid_of(reals, scales, TINY)
    pyramids = begin_pyramids(TINY, scales, IDS, levels[0])
    first = ScaleTraining(pyramids, None, levels[0], IDS, 0)
    first.step(0)
    discriminator = first.finish()
    second = ScaleTraining(pyramids, discriminator, levels[1], IDS, 0)
    for ours, theirs in ((second.generator, pyramids.generators[0]), (second.discriminator, discriminator)):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert not pyramids.generators[0].training
    assert second.generator.training
    wider = pyramids._replace(scales=scales._replace(widths=(4, 8)), amplitudes=pyramids.amplitudes[:1])
    fresh = ScaleTraining(wider, discriminator, levels[1], IDS, 0)
    assert fresh.generator.stack[0].weight.shape[0] == 24
    assert fresh.generator.stack[0].weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_the_rate_drops_after_four_fifths(reals):
    row = TINY.model_copy(update={"iterations": 10})
    scales = scales_of(row, 16, 16)
    levels = pyramid_of(reals, scales, row)
    training = ScaleTraining(begin_pyramids(row, scales, IDS, levels[0]), None, levels[0], IDS, 0)
    rates = []
    for iteration in (0, 7, 8, 9):
        training.step(iteration)
        rates += [group["lr"] for optimizer in training.optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([5e-3] * 4 + [5e-4] * 4)


@pytest.mark.heavy
def test_reconstruction_alone_finds_the_image_and_no_training_leaves_what_was_there(reals):
    row = TINY.model_copy(update={"iterations": 250, "alpha": 1e6, "d_steps": 0, "rec_noise": "fixed", "width": 16,
                                  "width_most": 16, "lr": 1e-2, "requantize": False})  # fmt: skip
    scales = scales_of(row, 16, 16)
    level = torch.nn.functional.avg_pool2d(reals[:, :4], 5, 1, 2).float()
    level = pyramid_of(level, scales, row)[0]
    pyramids = begin_pyramids(row, scales._replace(sides=scales.sides[:1]), ("a",), level)
    training = ScaleTraining(pyramids, None, level, ("a",), 0)
    for iteration in range(row.iterations):
        training.step(iteration)
    rebuilt = training.generator(pyramids.noise(0, None), torch.zeros_like(level))
    assert (rebuilt - level).pow(2).mean().sqrt() < 0.02
    begun = ScaleTraining(begin_pyramids(row, scales, ("a",), level), None, level, ("a",), 0)
    before = torch.rand_like(level)
    painted = begun.generator.eval()(torch.zeros_like(level), before) - before
    assert painted.std() < 0.2 * level.std()  # no contrast of its own


def test_layers_are_normalised_all_but_the_last():
    kinds = [type(layer).__name__ for layer in layer_stack(2, [4, 8, 8, 1])]
    assert kinds == ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 2 + ["Conv2d"]
