"""Closed forms of DFMGAN's losses, and what augmentation does and leaves."""

import math

import pytest
import torch

from siamese.base.devices import seeded
from siamese.dfmgan.augment import AUGMENT, Change, augmented, next_probability, warped
from siamese.dfmgan.draws import as_pool, real_pixels
from siamese.dfmgan.generator import Normal
from siamese.dfmgan.loop import run_stage
from siamese.dfmgan.losses import gradient_penalty, mode_seeking, path_lengths, path_penalty
from siamese.dfmgan.phases import PENALTY_EVERY, lazy_intervals, phases
from siamese.dfmgan.stage import Stage
from siamese.dfmgan.state import GanState, adam, average_towards, mend_gradients
from siamese.training.loop import one_training
from tests.siamese.dfmgan.conftest import CFG, ROW


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_penalty_of_a_linear_score_is_the_square_of_its_slope():
    slope, pixels = normal(3, 4, 4), normal(5, 3, 4, 4, seed=1).requires_grad_()
    penalty = gradient_penalty((pixels * slope).sum((1, 2, 3)), pixels, 0.4)
    torch.testing.assert_close(penalty, (0.2 * slope.square().sum()).expand(5))


class Linear(torch.nn.Module):
    """A discriminator whose score is the product of an image with a slope."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(normal(3, 16, 16).float())

    def forward(self, pixels):
        return (pixels * self.slope).sum((1, 2, 3))


def test_a_penalty_in_one_of_sixteen_steps_weighs_as_one_in_each(data, tmp_path):
    row = ROW.model_copy(update={"path_length": "off", "augment": "none"})
    backbone, average, critic = *(seeded(lambda: Normal(row, 16), 0) for _ in range(2)), Linear()
    state = GanState({"generator": backbone, "critic": critic}, lazy_intervals(False, "off"), average, lr=0.0)
    pool = as_pool(data.images, None, 16, mirror=False)
    stage = Stage(row, 16, 0, pool, backbone, state, r1_gamma=0.4)
    with one_training(CFG) as accelerator:  # the first step, whose last phase is the penalty
        columns = run_stage("stage 1", stage, CFG.batch, 100, CFG, tmp_path, accelerator)
    lazily = critic.slope.grad.clone()
    assert [phase.every for phase in phases(stage) if phase.terms == ("r1",)] == [PENALTY_EVERY]
    logged = dict(zip(columns, state.rows[0][1:], strict=True))
    assert logged["r1"] == pytest.approx(0.2 * float(critic.slope.square().sum()))
    critic.slope.grad = None
    pixels = real_pixels(pool, range(CFG.batch), "cpu").requires_grad_()
    for _ in range(PENALTY_EVERY):
        gradient_penalty(critic(pixels), pixels, 0.4).mean().backward()
    torch.testing.assert_close(lazily, critic.slope.grad)


def test_the_length_of_a_linear_path_is_its_norm():
    matrix, codes = normal(6, 12), normal(4000, 1, 6, seed=1).requires_grad_()
    images = (codes[:, 0] @ matrix).view(4000, 3, 2, 2)
    lengths = path_lengths(images, codes, normal(4000, 3, 2, 2, seed=2))
    expected = float(matrix.square().sum()) / 4
    assert float(lengths.square().mean()) == pytest.approx(expected, rel=0.05)
    torch.testing.assert_close(path_penalty(lengths, lengths), torch.zeros_like(lengths))
    torch.testing.assert_close(path_penalty(lengths, lengths - 3), torch.full_like(lengths, 18))


def test_the_length_is_the_mean_over_style_vectors_of_the_sum_over_their_width():
    codes = normal(2, 3, 5).requires_grad_()
    images = codes.sum((1, 2)).view(2, 1, 1, 1)
    torch.testing.assert_close(path_lengths(images, codes, torch.ones(2, 1, 1, 1)), torch.full((2,), 5.0**0.5).double())


def test_what_the_defect_alone_moves_has_no_length_by_the_backbone():
    codes, defect_codes = (normal(2, 3, 5, seed=seed).requires_grad_() for seed in range(2))
    images = defect_codes.sum((1, 2)).view(2, 1, 1, 1)
    assert not path_lengths(images, codes, torch.ones_like(images)).any()
    assert path_lengths(images, defect_codes, torch.ones_like(images)).all()


def test_mode_seeking_is_the_ratio_of_differences():
    codes, masks = (
        [torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.0]])],
        [torch.full((1, 1, 2, 2), v) for v in (0.5, 0.0)],
    )
    assert mode_seeking(*codes, *masks) == 3.0  # mean of 1 and 2, over 0.5
    assert mode_seeking(*codes, *(4 * mask for mask in masks)) == 0.75
    assert mode_seeking(*codes, *masks, epsilon=0.5) == 1.5


def test_equal_masks_give_infinity_and_a_gradient_that_is_mended():
    network, codes = torch.nn.Linear(2, 1), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    masks = torch.tanh(10 * (network(codes) - 50))  # float32: exactly -1, both
    loss = mode_seeking(codes[:1], codes[1:], masks[:1], masks[1:])
    assert loss.isinf()
    loss.backward()
    assert network.weight.grad.isnan().any()
    assert mend_gradients(network) == 1
    assert not network.weight.grad.any()
    network.weight.grad = torch.tensor([[math.inf, -1.0]])
    assert mend_gradients(network) == 1
    assert network.weight.grad.tolist() == [[1e5, -1.0]]
    assert mend_gradients(network) == 0


def test_lazy_steps_share_the_rate_with_the_others():
    network = torch.nn.Linear(1, 1)
    (group,) = adam(network, 0.1, 4).param_groups
    assert group["lr"] == pytest.approx(0.08)
    assert group["betas"] == pytest.approx((0.0, 0.99**0.8))
    assert adam(network, 0.1, None).param_groups[0]["lr"] == 0.1


def test_averaged_weights_forget_half_in_their_half_life():
    network, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    for layer, value in ((network, 1.0), (average, 0.0)):
        torch.nn.init.constant_(layer.weight, value)
    for step in range(5):
        average_towards(average, network, step * 4, 4, 20, ramp=False)
    assert float(average.weight) == pytest.approx(0.5)
    average_towards(average, network, 0, 4, 20, ramp=True)  # nothing was seen yet: all is forgotten
    assert float(average.weight) == 1


def change(pixels=None, shape=None, colour=None):
    return Change(*(torch.eye(n) if x is None else x for n, x in ((3, pixels), (3, shape), (4, colour))))


def test_probability_zero_is_the_identity():
    pixels = normal(4, 4, 16, 16).float()
    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        assert torch.equal(augmented(pixels, [AUGMENT["ada"](rng, 16, 0.0) for _ in range(4)]), pixels)
    assert torch.equal(augmented(pixels, [AUGMENT["none"](rng, 16, 1.0)] * 4), pixels)


def test_mirrors_take_image_and_mask_along():
    pixels = normal(6, 3, 8, 8).float()
    pixels = torch.cat([pixels, pixels[:, :1]], 1)  # the mask is the first colour
    rng = torch.Generator().manual_seed(0)
    changes = [AUGMENT["flips"](rng, 8, 0.0) for _ in range(6)]
    flipped = augmented(pixels, changes)
    assert torch.equal(flipped[:, 3], flipped[:, 0])
    for one, out, drawn in zip(pixels, flipped, changes, strict=True):
        axes = [axis for axis, sign in ((2, drawn.pixels[0, 0]), (1, drawn.pixels[1, 1])) if sign < 0]
        torch.testing.assert_close(out, one.flip(axes), atol=1e-5, rtol=0)
    assert len({tuple(drawn.pixels.diagonal().tolist()) for drawn in changes}) > 1


def test_every_draw_is_of_its_own_generator():
    drawn = [AUGMENT["ada"](torch.Generator().manual_seed(seed), 16, 1.0) for seed in (0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0].shape, drawn[2].shape)


def test_moves_turn_shift_and_scale():
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 1, 2] = 1.0  # row 1, column 2
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    moved = warped(image, quarter)  # x to y, y to -x: column 2 becomes row 2, row 1 the last column but one
    assert moved[0, 0].argmax() == 2 * 8 + 6
    shift = torch.eye(3)[None].clone()
    shift[0, 0, 2] = 3 * 2 / 8
    moved = warped(image, shift)[0, 0]
    assert moved.nonzero().tolist() == [[1, 0], [1, 5]]  # what comes in from the left is mirrored
    wide = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(warped(wide, torch.diag(torch.tensor([0.3, 0.3, 1.0]))[None], finer=2), wide)


def test_colours_change_and_the_mask_does_not():
    pixels = normal(1, 4, 4, 4).float()
    swap = torch.eye(4)[[2, 1, 0, 3]]
    swap[0, 3] = 0.5
    out = augmented(pixels, [change(colour=swap)])
    torch.testing.assert_close(out[:, 0], pixels[:, 2] + 0.5)
    assert torch.equal(out[:, 3], pixels[:, 3])
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):  # hue, saturation and the flip of brightness: grey stays grey
        drawn = AUGMENT["ada"](rng, 8, 1.0).colour[:3, :3] @ torch.ones(3)
        torch.testing.assert_close(drawn, drawn.mean().expand(3), atol=1e-5, rtol=0)


def test_augmentation_can_be_differentiated_twice():
    pixels = normal(1, 2, 4, 4).requires_grad_()
    moves = torch.tensor([[[0.8, -0.3, 0.1], [0.3, 0.8, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: warped(x, moves, finer=2), (pixels,))
    assert torch.autograd.gradgradcheck(lambda x: warped(x, moves, finer=2).square(), (pixels,))


def test_the_probability_follows_the_signs():
    assert next_probability(0.1, 0.7, 0.6, 32, 500_000) == pytest.approx(0.1 + 128 / 500_000)  # real > 0 in 85 %
    assert next_probability(0.1, 0.5, 0.6, 32, 500_000) == pytest.approx(0.1 - 128 / 500_000)
    assert next_probability(0.1, 0.6, 0.6, 32, 500_000) == 0.1
    assert next_probability(0.0, -1.0, 0.6, 32, 500_000) == 0.0


def test_half_precision_moves_no_pixel_elsewhere():
    pixels = torch.rand(2, 4, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rng = torch.Generator().manual_seed(1)
    changes = [AUGMENT["ada"](rng, 32, 1.0) for _ in range(2)]
    plain = augmented(pixels, changes)
    with torch.autocast("cpu", torch.bfloat16):
        half = augmented(pixels, changes)
    assert torch.equal(half, plain)
    half.sum().backward()
