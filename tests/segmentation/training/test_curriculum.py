"""Curriculum of the synthetic share: what is drawn when, and that nothing changes where it is off."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from data.pairs.assemble import write_duplicate
from data.pairs.seeds import item_seed
from segmentation.config.architectures import Curriculum
from segmentation.training import train as training
from segmentation.training.batches import TrainingPairs, count_batches

HALF = Curriculum(share=0.5, until=0.8)


@pytest.fixture
def real(make_pairs):
    return make_pairs(8, size_px=32)


@pytest.fixture
def added(make_pairs):
    return make_pairs(5, "more", size_px=32, seed=1)


@pytest.fixture
def row_of(make_row):
    return lambda **changes: make_row(input_px=32, batch=4, **changes)


def trained(folder):
    return [(folder / name).read_bytes() for name in ("model.safetensors", "curve.csv")]


def test_the_chance_falls_in_a_line_to_nothing():
    assert [HALF.chance(done) for done in (0, 0.4, 0.8, 1)] == [0.5, 0.25, 0, 0]
    assert Curriculum(share=1.0, until=1.0).chance(0.75) == 0.25
    assert Curriculum(share=1.0, until=0.0).chance(0.0) == 0


def test_off_draws_as_ever(real, added, row_of):
    pairs = TrainingPairs(real, added, row_of(), 3)
    order = np.random.default_rng(item_seed("order", 3, 2)).permutation(13)
    assert np.concatenate(pairs.parts(2)).tolist() == order.tolist()
    assert [len(part) for part in pairs.parts(2)] == [4, 3, 3, 3]


@pytest.mark.parametrize("off", [{"share": 0.0, "until": 0.8}, {"share": 0.5, "until": 0.0}])
def test_no_share_is_real_pairs_alone_to_the_bit(fit, make_pairs, real, added, row_of, off):
    changes = {"budget": "equal_steps", "augment": {"flip": 0.5}, "colour_exchange": {"pools": {"*": 1.0}}}
    alone, run = fit("alone", real, make_pairs(0, "none"), row_of(**changes))
    folder, with_added = fit("off", real, added, row_of(**changes, synthetic=off))
    assert trained(folder) == trained(alone)
    assert with_added == {**run, "synthetic": 5, "synthetic_draws": 0}


def test_pair_sets_without_synthetic_pairs_stay_as_they_are(fit, make_pairs, real, row_of, tmp_path, capsys):
    for name, pairs in (("none", make_pairs(0, "none")), ("twice", write_duplicate(real, tmp_path / "twice"))):
        plain, run = fit(f"{name}-plain", real, pairs, row_of())
        folder, facts = fit(name, real, pairs, row_of(synthetic=HALF))
        assert trained(folder) == trained(plain)
        assert facts == run
        assert "unet: no synthetic pairs are added, so `synthetic` changes nothing" in capsys.readouterr().err


@pytest.mark.parametrize("budget", ["equal_steps", "equal_epochs"])
def test_synthetic_draws_are_binomial_and_end_on_real_pairs(real, added, row_of, budget):
    row = row_of(budget=budget, synthetic=HALF, epochs=400)
    batches = count_batches(row, 8, 5)
    pairs = TrainingPairs(real, added, row, 0, batches=batches)
    assert (pairs.in_epoch, pairs.epochs) == (2, {"equal_steps": 400, "equal_epochs": 800}[budget])
    epochs = [np.concatenate(pairs.parts(epoch)) for epoch in range(int(pairs.epochs))]
    counts = [int((epoch >= 8).sum()) for epoch in epochs]
    chances = [HALF.chance(epoch / pairs.epochs) for epoch in range(len(epochs))]
    for part in (slice(0, 100), slice(100, 200), slice(200, 320)):
        expected = 8 * sum(chances[part])
        sigma = math.sqrt(sum(8 * p * (1 - p) for p in chances[part]))
        assert abs(sum(counts[part]) - expected) < 3 * sigma
    last = round(0.8 * len(epochs))
    assert sum(counts[last:]) == 0
    assert sum(counts) == pairs.synthetic_draws(batches)
    for epoch in epochs:  # no real pair comes twice in one, and none of the added ones before all have come
        kept = epoch[epoch < 8]
        assert len(set(kept)) == len(kept)
        assert np.ptp(np.bincount(epoch[epoch >= 8] - 8, minlength=5)) <= 1
    assert len({place for epoch in epochs for place in epoch}) == 13


def test_draws_depend_on_seed_and_epoch_alone(real, added, row_of):
    def drawn(seed, **options):
        pairs = TrainingPairs(real, added, row_of(synthetic=HALF, augment={"flip": 0.5}), seed, **options)
        return [pairs.epoch(number) for number in (1, 0)]

    for one, two in zip(drawn(0), drawn(0, ahead=True), strict=True):
        for (images, masks), (others, same) in zip(one, two, strict=True):
            assert np.array_equal(images, others)
            assert np.array_equal(masks, same)
    row = row_of(synthetic=Curriculum(share=1.0, until=1.0))
    orders = [np.concatenate(TrainingPairs(real, added, row, seed).parts(0)).tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]


@pytest.mark.heavy
def test_an_interrupted_run_ends_with_the_same_bytes(fit, real, added, row_of, tmp_path, monkeypatch):
    row = row_of(epochs=4, synthetic=HALF, budget="equal_steps")
    whole, run = fit("whole", real, added, row, 3)
    monkeypatch.setattr(training, "SAVE_EVERY_S", -1.0)
    work, epoch = tmp_path / "work", TrainingPairs.epoch
    work.mkdir()

    def killed(pairs, number):
        if number == 2:
            raise KeyboardInterrupt
        return epoch(pairs, number)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingPairs, "epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            fit("killed", real, added, row, 3, work=work)
    resumed, facts = fit("resumed", real, added, row, 3, work=work)
    assert trained(resumed) == trained(whole)
    assert facts == run
    assert (run["steps"], run["synthetic"]) == (8, 5)
    assert 0 < run["synthetic_draws"] < 16


def test_a_row_that_ends_on_no_real_pairs_is_refused(make_row):
    with pytest.raises(ValidationError, match="ends on real pairs, so it needs real_pairs: true"):
        make_row(real_pairs=False, synthetic=HALF)
    with pytest.raises(ValidationError):
        Curriculum(share=0.5, until=1.5)
