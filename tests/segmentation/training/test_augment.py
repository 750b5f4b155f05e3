"""Augmentation: image and mask move together, and only an item's seed decides how."""

import numpy as np
import pytest

from segmentation.config.architectures import Augmentation
from segmentation.training.augment import build_augment

EVERYTHING = Augmentation(flip=0.5, rotate90=0.5, scale=0.2, shift=0.1, brightness_contrast=0.2, hue=0.1, blur=0.5)


def item() -> tuple[np.ndarray, np.ndarray]:
    """Return an image whose red channel is 200 on the mask and 0 elsewhere, without any symmetry."""
    mask = np.zeros((32, 32), np.uint8)
    mask[2:14, 3:9] = 1
    mask[2:5, 3:20] = 1
    return np.stack([mask * np.uint8(200), *[np.full_like(mask, 90)] * 2], axis=-1), mask


def test_zeros_change_nothing():
    image, mask = item()
    changed, changed_mask = build_augment(Augmentation())(image, mask, 1)
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(changed_mask, mask)


def test_the_seed_decides_whatever_came_before():
    image, mask = item()
    augment, other = build_augment(EVERYTHING), build_augment(EVERYTHING)
    first = [augment(image, mask, seed) for seed in range(8)]
    again = [other(image, mask, seed) for seed in reversed(range(8))][::-1]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    assert len({one[0].tobytes() for one in first}) == 8


@pytest.mark.parametrize("row", [Augmentation(flip=0.5, rotate90=1.0), Augmentation(scale=0.3, shift=0.2)])
def test_image_and_mask_move_together(row):
    image, mask = item()
    augment, moved = build_augment(row), 0
    for seed in range(20):
        changed, changed_mask = augment(image, mask, seed)
        assert set(np.unique(changed_mask)) <= {0, 1}
        assert ((changed[..., 0] > 100) != changed_mask).mean() < 0.06  # the edges differ: bilinear against nearest
        moved += not np.array_equal(changed_mask, mask)
    assert moved > 10


def test_colours_leave_the_mask_alone():
    image, mask = item()
    changed, changed_mask = build_augment(Augmentation(brightness_contrast=0.3, hue=0.1))(image, mask, 3)
    np.testing.assert_array_equal(changed_mask, mask)
    assert not np.array_equal(changed, image)


def test_flips_are_independent_of_one_another():
    image, mask = item()
    augment = build_augment(Augmentation(flip=0.5))
    views = {view.tobytes(): name for view, name in ((mask, ""), (mask[:, ::-1], "h"), (mask[::-1], "v"))}
    names = [views.get(augment(image, mask, seed)[1].tobytes(), "hv") for seed in range(400)]
    assert {name: names.count(name) for name in ("", "h", "v", "hv")} == pytest.approx(
        dict.fromkeys(("", "h", "v", "hv"), 100), abs=35
    )
