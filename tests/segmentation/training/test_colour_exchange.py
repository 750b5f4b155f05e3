"""Colour exchange: statistics of a donor, and who donates."""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from data.pairs.errors import UserError
from segmentation.config.architectures import ColourExchange
from segmentation.training.augment import donor_chooser, exchange
from segmentation.training.batches import TrainingPairs


def test_an_image_takes_mean_and_spread_of_its_donor():
    rng = np.random.default_rng(0)
    image = (rng.normal(100, 10, (64, 64, 3)) + np.array([30, 0, 0])).clip(0, 255).astype(np.uint8)
    donor = (rng.normal(120, 15, (48, 64, 3)) + np.array([0, 20, 0])).clip(0, 255).astype(np.uint8)
    moved = cv2.cvtColor(exchange(image, donor, wrap=False), cv2.COLOR_RGB2LAB).astype(float)
    target = cv2.cvtColor(donor, cv2.COLOR_RGB2LAB).astype(float)
    assert moved.mean((0, 1)) == pytest.approx(target.mean((0, 1)), abs=1.5)
    assert moved.std((0, 1)) == pytest.approx(target.std((0, 1)), rel=0.15)


def test_values_beyond_the_range_are_cut_off_or_wrap_and_one_colour_is_no_division_by_zero():
    image = np.zeros((8, 8, 3), np.uint8)
    image[0, 0] = 255
    donor = np.full((8, 8, 3), 250, np.uint8)
    donor[0] = 0
    cut, wrapped = exchange(image, donor, wrap=False), exchange(image, donor, wrap=True)
    assert cut[0, 0].min() > 240
    assert not np.array_equal(cut, wrapped)
    flat = exchange(np.full((8, 8, 3), 60, np.uint8), donor, wrap=False)
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


def test_donors_come_from_the_pools_of_the_manifest_in_their_order():
    domains = ["clinicdb"] * 3 + ["kvasir"] * 5
    choose = donor_chooser(ColourExchange(pools={"clinicdb": 0.7, "kvasir": 0.3}), domains)
    drawn = [choose(4, seed) for seed in range(2000)]
    assert set(drawn) == {4 % 3, 3 + 4 % 5}
    assert drawn.count(1) / 2000 == pytest.approx(0.7, abs=0.04)
    assert {donor_chooser(ColourExchange(pools={"*": 1.0}), domains)(9, seed) for seed in range(20)} == {1}
    with pytest.raises(UserError, match="no training pair is of the domain etis"):
        donor_chooser(ColourExchange(pools={"etis": 1.0}), domains)
    with pytest.raises(ValidationError, match="add up to 1"):
        ColourExchange(pools={"a": 0.5})


def test_colour_exchange_reaches_the_batches(make_pairs, make_row):
    real, none = make_pairs(4), make_pairs(0, "none")
    plain = TrainingPairs(real, none, make_row(), 0)
    mixed = TrainingPairs(real, none, make_row(colour_exchange={"pools": {"*": 1.0}}), 0)
    (images, masks), (others, same) = next(plain.epoch(0)), next(mixed.epoch(0))
    assert np.array_equal(masks, same)
    assert images.shape == others.shape
