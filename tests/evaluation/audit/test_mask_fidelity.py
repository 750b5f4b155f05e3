"""Mask fidelity and its permuted control."""

from dataclasses import replace

import numpy as np
import pytest

from data.pairs.manifest import PairSet
from evaluation.audit.mask_fidelity import dice, mask_fidelity, strangers
from evaluation.features.images import Images


def test_dice_by_hand() -> None:
    found = np.zeros((4, 2, 4), np.uint8)
    asked = np.zeros((4, 2, 4), np.uint8)
    found[0, 0], asked[0, :, :2] = 1, 1  # 2 px shared of 4 and 4
    found[1, 0], asked[1, 0] = 1, 1
    found[2, 0, 0] = 1  # nothing asked for
    np.testing.assert_array_equal(dice(found, asked), [0.5, 1, 0, 1])


def test_swapping_masks_drops_the_dice(draw, judge, images_of) -> None:
    images, masks = draw(12, 0)
    result = mask_fidelity(images_of(images, masks), judge)
    assert result.dice.mean() > 0.85
    assert result.permuted.mean() < 0.5
    swapped = mask_fidelity(images_of(images, np.roll(masks, 1, axis=0), "q"), judge)
    assert swapped.dice.mean() < 0.5


def test_batch_size_does_not_matter(draw, judge, images_of) -> None:
    images = images_of(*draw(7, 0))
    results = [mask_fidelity(images, judge, batch=batch) for batch in (1, 3, 64)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.dice, results[0].dice)
        np.testing.assert_array_equal(result.permuted, results[0].permuted)


@pytest.mark.parametrize("n", [2, 3, 10, 11])
def test_every_image_gets_the_mask_of_another(draw, n: int) -> None:
    others = strangers(draw(n, 0)[1])
    assert sorted(others) == list(range(n))
    assert (others != np.arange(n)).all()


def test_neighbours_are_not_swapped(draw) -> None:
    np.testing.assert_array_equal(strangers(draw(10, 0)[1]), np.roll(np.arange(10), 5))


@pytest.mark.parametrize("order", ["copies apart", "copies together"])
def test_copies_of_one_mask_are_no_strangers(draw, order: str) -> None:
    masks = draw(5, 0)[1]
    masks = np.concatenate([masks, masks]) if order == "copies apart" else np.repeat(masks, 2, axis=0)
    others = strangers(masks)
    assert all((masks[i] != masks[j]).any() for i, j in enumerate(others))


def test_no_control_without_a_stranger(draw, judge, images_of) -> None:
    images, masks = draw(1, 0)
    alone = mask_fidelity(images_of(images, masks), judge)
    assert alone.permuted is None
    assert "no other" in alone.reason
    equal = mask_fidelity(images_of(draw(3, 0)[0], np.repeat(masks, 3, axis=0), "q"), judge)
    assert equal.permuted is None
    assert "equal" in equal.reason


def test_a_judge_of_the_wrong_shape_is_refused(draw, judge, images_of) -> None:
    images = images_of(*draw(3, 0))
    with pytest.raises(ValueError, match="must return probabilities"):
        mask_fidelity(images, lambda batch: judge(batch)[:, None])


def test_padding_is_not_shown_to_the_judge(images_of):
    masks = np.zeros((3, 32, 32), np.uint8)
    masks[:, 10:20, 5:15] = 1
    masks[1, 12:22, 12:22] = 1
    images = np.repeat(masks[..., None] * np.uint8(255), 3, axis=3)
    images[:, :8] = images[:, 24:] = 255  # padding that looks like a lesion
    sizes = []

    def bright(shown):
        sizes.append(shown.shape[1:3])
        return shown[..., 0] / np.float32(255)

    plain = images_of(images, masks)
    boxed = PairSet(plain.set.folder, tuple(replace(pair, box="0 8 32 16") for pair in plain.pairs))
    assert mask_fidelity(Images(boxed), bright).dice.tolist() == [1, 1, 1]
    assert set(sizes) == {(16, 32)}
    assert mask_fidelity(plain, bright).dice.max() < 0.5
