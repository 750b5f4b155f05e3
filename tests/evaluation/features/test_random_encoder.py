"""The random encoder: alive, seeded, calibrated on real images, independent of the batch size."""

import numpy as np
import pytest
import torch

from evaluation.features.random_encoder import WIDTHS, calibration_images, features, random_encoder
from evaluation.scores.distances import frechet, mmd2_u, poly


def test_features_are_the_channel_means_of_five_stages(draw) -> None:
    images = draw(6, 0)[0]
    found = features(random_encoder(0, images), images)
    assert found.shape == (6, 248)
    assert found.dtype == np.float32
    for stage in np.split(found, np.cumsum(WIDTHS)[:-1], axis=1):
        # Half of a standard normal, rectified, has mean 0.4; default initialisation would leave 1e-8 here.
        assert 0.2 < stage.mean() < 0.6


def test_calibration_gives_each_channel_unit_variance_on_the_real_set(draw) -> None:
    images = draw(20, 0)[0]
    encoder = random_encoder(3, images)
    seen = []
    for norm in (module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    features(encoder, images)
    assert len(seen) == 10
    for output in seen:
        torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(output.shape[1]), atol=1e-2, rtol=0)
        torch.testing.assert_close(output.var((0, 2, 3)), torch.ones(output.shape[1]), atol=1e-2, rtol=0)


def test_seeds_differ_and_repeat(draw) -> None:
    images = draw(4, 0)[0]
    torch.manual_seed(0)
    weights = [next(random_encoder(seed, images).parameters()) for seed in (0, 1, 2)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[2])
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(next(random_encoder(0, images).parameters()), weights[0])
    assert torch.equal(torch.rand(1), drawn), "the caller's generator was advanced"


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_size_does_not_matter(draw, batch: int) -> None:
    images = draw(10, 0)[0]
    encoder = random_encoder(0, images)
    parts = [features(encoder, images[start : start + batch]) for start in range(0, 10, batch)]
    np.testing.assert_allclose(np.concatenate(parts), features(encoder, images), rtol=1e-4, atol=1e-5)


def test_calibration_images_are_spread_over_the_set(draw, images_of) -> None:
    images = draw(66, 0, size=16)
    chosen = calibration_images(images_of(*images))
    assert len(chosen) == 64
    np.testing.assert_array_equal(chosen[[0, -1]], images[0][[0, -1]])


def test_distances_rise_with_blur_and_copies_are_zero(draw, blur) -> None:
    real, other = draw(32, 0)[0], draw(32, 1)[0]
    encoder = random_encoder(0, real)
    x = features(encoder, real)
    assert abs(frechet(x, x)) < 1e-9
    blurred = [features(encoder, blur(other, sigma)) for sigma in (0, 0.5, 1, 2, 4)]
    fd, kid = [frechet(x, y) for y in blurred], [mmd2_u(x, y, poly)[0] for y in blurred]
    assert fd == sorted(fd)
    assert kid == sorted(kid)
    assert fd[1] > 1.5 * fd[0]
