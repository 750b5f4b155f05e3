"""The sliced Wasserstein distance against SciPy and OpenCV."""

import cv2
import numpy as np
import pytest
import torch

from evaluation.features.swd import descriptors, laplacian_pyramid, level_sizes, set_descriptors, swd, wasserstein_1d


def _ids(n: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 45), (17, 5), (1, 8)])
def test_wasserstein_equals_scipy(n: int, m: int) -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (n, 3)), rng.normal(0.5, 2, (m, 3))
    ours = wasserstein_1d(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(ours, [wasserstein_distance(a[:, k], b[:, k]) for k in range(3)], rtol=1e-10)


@pytest.mark.parametrize(
    ("size", "levels"), [(32, [32, 16]), (64, [64, 32, 16]), (128, [128, 64, 32, 16]), (384, [384, 192, 96, 48])]
)
def test_levels_fit_the_size(size: int, levels: list[int]) -> None:
    assert level_sizes(size) == levels


def test_pyramid_equals_opencv(draw) -> None:
    image = draw(1, 0)[0][0].astype(np.float32)
    fine, middle, rest = (
        level[0].permute(1, 2, 0).numpy()
        for level in laplacian_pyramid(torch.from_numpy(image).permute(2, 0, 1)[None], 3)
    )
    half = cv2.pyrDown(image)
    quarter = cv2.pyrDown(half)
    np.testing.assert_allclose(rest, quarter, atol=1e-3)
    inner = slice(4, -4)  # the borders of pyrUp are OpenCV's own
    np.testing.assert_allclose(fine[inner, inner], (image - cv2.pyrUp(half))[inner, inner], atol=1e-3)
    np.testing.assert_allclose(middle[inner, inner], (half - cv2.pyrUp(quarter))[inner, inner], atol=1e-3)


def test_flat_images_have_empty_bands() -> None:
    *bands, rest = laplacian_pyramid(torch.full((1, 3, 64, 64), 100.0), 3)
    assert all(float(band.abs().max()) < 1e-3 for band in bands)
    torch.testing.assert_close(rest, torch.full((1, 3, 16, 16), 100.0))


def test_descriptors_are_patches_of_the_image(draw) -> None:
    images = draw(2, 0, size=32)[0]
    patches = descriptors(images, _ids(2))[0].reshape(2, 48, 3, 7, 7)
    for image, found in zip(images, patches, strict=True):
        band = laplacian_pyramid(torch.from_numpy(image).permute(2, 0, 1)[None].float(), 2)[0][0]
        everywhere = [band[:, r : r + 7, c : c + 7] for r in range(26) for c in range(26)]
        known = {patch.numpy().tobytes() for patch in everywhere}
        assert all(patch.numpy().tobytes() in known for patch in found)
    assert len({patch.numpy().tobytes() for patch in patches[0]}) > 40


def test_places_of_patches_follow_from_the_id(draw) -> None:
    image = draw(1, 0)[0]
    a, b = descriptors(np.concatenate([image, image]), ["a", "b"])[0].chunk(2)
    assert not torch.equal(a, b)
    assert torch.equal(b, descriptors(image, ["b"])[0])


def test_copies_have_distance_zero_and_colour_shifts_count(draw) -> None:
    images = draw(12, 0)[0]
    real = descriptors(images, _ids(12))
    total, levels = swd(real, real, _generator())
    assert total == 0
    assert levels == [0, 0, 0]
    shifted = np.clip(images + np.array([0, 20, 0]), 0, 255).astype(np.uint8)
    total, levels = swd(real, descriptors(shifted, _ids(12)), _generator())
    assert levels[-1] > 0.05
    assert total == pytest.approx(np.mean(levels))


def test_batch_size_does_not_matter(draw, images_of) -> None:
    images = images_of(*draw(7, 1))
    one, other = (set_descriptors(images, batch=batch) for batch in (7, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_order_does_not_matter(draw) -> None:
    real, synthetic = draw(10, 0)[0], draw(7, 1)[0]
    names = _ids(7, "s")
    reference = descriptors(real, _ids(10))
    straight = swd(reference, descriptors(synthetic, names), _generator())[0]
    reverse = swd(reference, descriptors(synthetic[::-1].copy(), names[::-1]), _generator())[0]
    assert straight == pytest.approx(reverse, rel=1e-6)


def test_rises_with_blur(draw, blur) -> None:
    real, other = draw(24, 0)[0], draw(24, 1)[0]
    reference = descriptors(real, _ids(24))
    values = [
        swd(reference, descriptors(blur(other, sigma), _ids(24, "s")), _generator())[0] for sigma in (0, 0.5, 1, 2, 4)
    ]
    assert values == sorted(values)
    assert values[1] > 1.5 * values[0]
