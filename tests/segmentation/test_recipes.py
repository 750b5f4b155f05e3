"""Recipes: optimisers, schedules, sizes, colour exchange, validation, resuming, budgets of epochs and steps."""

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from data.pairs.errors import UserError
from data.pairs.files import sha256_tree
from data.pairs.image_io import read_image
from segmentation.config.architectures import ArchitectureRow, ColourExchange, MultiScale
from segmentation.inference.inputs import at_size, load_pairs, normalize, scaled_sizes
from segmentation.inference.overlays import cases, draw_cases
from segmentation.inference.predict import load_segmenter
from segmentation.training import train as training
from segmentation.training.batches import TrainingPairs
from segmentation.training.colour_exchange import donor_chooser, exchange
from segmentation.training.optim import Rate, build_optimizer
from segmentation.training.train import train
from segmentation.training.validation import hold_out, soft_dice, validation_sets

SANET = MultiScale(
    draw="one", factors=(8 / 11, 9 / 11, 10 / 11, 1.0), probabilities=(0.1, 0.2, 0.3, 0.4), align_corners=False
)
PVT = MultiScale(draw="each", factors=(0.75, 1.0, 1.25), align_corners=True)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)


def rates(row, steps, epochs):
    """Return the rate of the head at each step, with so many steps an epoch."""
    network = Toy()
    optimizer = build_optimizer(network, row)
    rate = Rate(optimizer, row, steps)
    head = next(g for g in optimizer.param_groups if any(p is network.head.weight for p in g["params"]))
    found = []
    for step in range(steps):
        found.append(head["lr"])
        optimizer.step()
        rate.after_step()
        if (step + 1) % (steps // epochs) == 0:
            rate.after_epoch(1.0)
    return found


def test_schedules_by_name(make_row):
    found = rates(make_row(schedule="steps", milestones=(3, 5), lr=0.4, epochs=6), 12, 6)
    assert found == pytest.approx([0.4] * 4 + [0.2] * 4 + [0.1] * 4)
    poly = rates(make_row(schedule="poly", warmup=0.2, lr=1.0), 10, 1)
    assert poly == pytest.approx([1e-6, 0.45, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    plateau = rates(make_row(schedule="plateau", lr=1.0), 13, 13)  # the loss never gets better: 10 epochs of patience
    assert plateau == pytest.approx([1.0] * 12 + [0.5])
    assert rates(make_row(schedule="constant", lr=1.0), 5, 1) == [1.0] * 5


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_encoder_and_norms_have_rates_and_decays_of_their_own(make_row, optimizer):
    network = Toy()
    row = make_row(optimizer=optimizer, lr=0.4, encoder_lr=0.1, weight_decay=0.5, decay_norms=False)
    built = build_optimizer(network, row)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in built.param_groups for p in g["params"]}
    assert found[id(network.encoder.weight)] == pytest.approx((0.04, 0.5))
    assert found[id(network.encoder.bias)] == pytest.approx((0.04, 0.0))
    assert found[id(network.head.weight)] == pytest.approx((0.4, 0.5))
    assert found[id(network.head.bias)] == pytest.approx((0.4, 0.0))
    if optimizer == "sgd":
        assert (built.param_groups[0]["momentum"], built.param_groups[0]["nesterov"]) == (0.9, True)


def test_sizes_are_those_of_the_sources():
    rng = np.random.default_rng(0)
    assert scaled_sizes(PVT, 352, rng) == [256, 352, 448]
    drawn = [scaled_sizes(SANET, 352, rng)[0] for _ in range(4000)]
    shares = [drawn.count(size) / 4000 for size in (256, 288, 320, 352)]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)
    assert scaled_sizes(None, 96, rng) == [96]
    assert scaled_sizes(PVT, 64, rng) == [64, 64, 96] or scaled_sizes(PVT, 96, rng) == [64, 96, 128]


def test_images_and_masks_are_brought_to_another_size_as_the_row_says(make_row):
    image, mask = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) > 0.5).float()
    hard = at_size(image, mask, 96, make_row(scales=SANET))[1]
    soft = at_size(image, mask, 96, make_row(scales=PVT, soft_masks=True))[1]
    assert hard.shape == soft.shape == (1, 1, 96, 96)
    assert set(hard.unique().tolist()) == {0, 1}
    assert len(soft.unique()) > 10
    assert soft[0, 0, 0, 0] == mask[0, 0, 0, 0]  # corners are aligned


def test_three_steps_a_batch_and_an_element_wise_clamp(make_pairs, make_row, tmp_path, monkeypatch):
    seen, clamped = [], []
    step, clamp = training.Stepper._step, nn.utils.clip_grad_value_
    monkeypatch.setattr(training.Stepper, "_step", lambda self, x, y: (seen.append(x.shape[-1]), step(self, x, y)))

    def watch(parameters, value):
        parameters = list(parameters)
        clamp(parameters, value)
        clamped.append(max(float(p.grad.abs().max()) for p in parameters if p.grad is not None))

    monkeypatch.setattr(nn.utils, "clip_grad_value_", watch)
    row = make_row(scales=PVT, gradient_clamp=0.001, epochs=2, input_px=96)
    out = tmp_path / "out"
    out.mkdir()
    run = train(make_pairs(4, size_px=96), make_pairs(0, "none"), row, out, seed=0)
    assert seen == [64, 96, 128] * 2
    assert run["steps"] == 6
    assert max(clamped) == pytest.approx(0.001)


def test_normalising_by_the_extremes_of_each_image(make_row):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, :4], images[1] = 200, 7
    found = normalize(images, make_row(normalize="min_max"), torch.device("cpu"))
    assert (found[0].min().item(), found[0].max().item(), found[1].unique().tolist()) == (0, 1, [0])


# colour exchange -----------------------------------------------------------------------------------------------------


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


def test_batches_made_ahead_are_those_made_in_turn(make_pairs, make_row):
    real, none, row = make_pairs(7), make_pairs(0, "none"), make_row(augment={"flip": 0.5, "blur": 0.5}, batch=3)
    for one, two in zip(
        TrainingPairs(real, none, row, 0).epoch(1), TrainingPairs(real, none, row, 0, ahead=True).epoch(1), strict=True
    ):
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1], two[1])


# decoded once --------------------------------------------------------------------------------------------------------


def test_pairs_are_decoded_once_and_mapped_by_every_run(make_pairs, make_row, monkeypatch):
    real, row = make_pairs(5), make_row()
    first = load_pairs(real, row)
    monkeypatch.setattr("segmentation.inference.inputs._decode", lambda *_: pytest.fail("decoded again"))
    again = load_pairs(real, row)
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(first.images, again.images)
    assert set(np.unique(again.masks)) == {0, 255}


def test_without_room_on_the_disk_pairs_are_decoded_into_memory(make_pairs, make_row, monkeypatch):
    real, row = make_pairs(5), make_row(soft_masks=True, input_px=32)
    kept = load_pairs(real, row)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    in_memory = load_pairs(real, row)
    assert not isinstance(in_memory.images, np.memmap)
    assert np.array_equal(kept.masks, in_memory.masks)
    assert len(np.unique(kept.masks)) > 3


# validation ----------------------------------------------------------------------------------------------------------


def test_what_is_held_out_takes_its_group_and_what_was_made_from_it_along(make_pairs):
    from dataclasses import replace

    real, added = make_pairs(12), make_pairs(12, "more")
    real = replace(real, pairs=tuple(replace(p, group=f"g{i // 3}") for i, p in enumerate(real.pairs)))
    parents = [pair.id for pair in real.pairs]
    added = replace(added, pairs=tuple(replace(p, parent=parents[i]) for i, p in enumerate(added.pairs)))
    train_on, val, kept = hold_out(real, added, 0.2, seed=0)
    assert (len(train_on), len(val), len(kept)) == (9, 3, 9)
    assert len({pair.group for pair in val.pairs}) == 1
    assert {pair.parent for pair in kept.pairs} == {pair.id for pair in train_on.pairs}
    with pytest.raises(UserError, match="leave no pair"):
        hold_out(replace(real, pairs=real.pairs[:3]), added, 0.2, seed=0)


def test_soft_dice_is_one_for_a_perfect_map_and_smoothed():
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, :4] = 1
    found = soft_dice(masks * 20 - 10, masks)
    assert found[0].item() == pytest.approx(1)
    assert found[1].item() == pytest.approx(1)  # nothing to find, a map of one value


def test_the_best_epoch_is_kept_and_early_stopping_ends_the_run(make_pairs, make_row, tmp_path, monkeypatch):
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.3, 0.9])
    monkeypatch.setattr(
        "segmentation.training.validation.Validation.measure", lambda self, network: (next(scores), 1.0)
    )
    row = make_row(keep="best_val", early_stop=3, epochs=6)
    (tmp_path / "out").mkdir()
    real, none = make_pairs(6), make_pairs(0, "none")
    run = train(real, none, row, tmp_path / "out", seed=0, val=make_pairs(2, "val"))
    assert (run["kept_epoch"], run["steps"], run["validation_pairs"]) == (2, 10, 2)
    (tmp_path / "two").mkdir()
    train(real, none, make_row(epochs=2, schedule="constant"), tmp_path / "two", seed=0)
    assert "val_dice" in (tmp_path / "out/curve.csv").read_text()
    assert "0.6" in (tmp_path / "out/curve.csv").read_text()


def test_validation_that_is_needed_must_be_there_and_choosing_on_test_sets_is_warned_of(make_pairs, make_row):
    real, none, said = make_pairs(6), make_pairs(0, "none"), []
    with pytest.raises(UserError, match="need validation pairs, and there is no val split"):
        validation_sets(make_row(keep="best_val"), real, none, None, [], 0, said.append)
    train_on, _, looked_at = validation_sets(
        make_row(keep="best_val", val_share=0.3), real, none, None, [], 0, said.append
    )
    assert (len(train_on), [len(one) for one in looked_at], said) == (4, [2], [])
    assert validation_sets(make_row(), real, none, make_pairs(2, "val"), [real], 0, said.append)[2] == []
    assert validation_sets(make_row(keep="best_test"), real, none, None, [none], 0, said.append)[2] == [none]
    assert "chosen on the test sets" in said[0]
    with pytest.raises(UserError, match="needs test sets"):
        validation_sets(make_row(keep="best_test"), real, none, None, [], 0, said.append)


# resume --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "schedule": "plateau"}])
def test_an_interrupted_run_ends_with_the_same_bytes(make_pairs, make_row, tmp_path, monkeypatch, changes):
    row = make_row(epochs=6, keep="best_val", augment={"flip": 0.5}, scales=SANET, **changes)
    real, more, val = make_pairs(6), make_pairs(4, "more", seed=1), make_pairs(3, "val")
    for name in ("whole", "resumed", "work"):
        (tmp_path / name).mkdir()
    train(real, more, row, tmp_path / "whole", seed=3, val=val)
    monkeypatch.setattr(training, "SAVE_EVERY_S", -1.0)
    step, count = training.Stepper._step, []

    def fail(self, inputs, targets):
        count.append(1)
        if len(count) == 10:
            raise KeyboardInterrupt
        step(self, inputs, targets)

    monkeypatch.setattr(training.Stepper, "_step", fail)
    with pytest.raises(KeyboardInterrupt):
        train(real, more, row, tmp_path / "resumed", seed=3, val=val, work=tmp_path / "work")
    assert (tmp_path / "work/state.pt").is_file()
    train(real, more, row, tmp_path / "resumed", seed=3, val=val, work=tmp_path / "work")
    assert len(count) == 10 + 18 - 9
    assert sha256_tree(tmp_path / "resumed") == sha256_tree(tmp_path / "whole")


def test_looking_at_validation_pairs_does_not_change_the_training(make_pairs, make_row, tmp_path):
    args = {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 8, 8), "num_heads": (1, 1, 1, 1)}
    common = {"network": "ctnet", "encoder": None, "encoder_args": args, "decoder_channels": (8,), "epochs": 2}
    real, none, val = make_pairs(4), make_pairs(0, "none"), make_pairs(2, "val")
    for name, changes in (("blind", {}), ("looking", {"early_stop": 50})):
        (tmp_path / name).mkdir()
        row = make_row(**common, loss="structure_contrast", **changes)
        train(real, none, row, tmp_path / name, seed=0, val=val)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("blind", "looking")]
    assert files[0] == files[1]


def test_synthetic_pairs_alone_can_be_validated_on_held_out_real_ones(make_pairs, make_row, tmp_path):
    (tmp_path / "out").mkdir()
    row = make_row(real_pairs=False, added_pairs=6, keep="best_val", val_share=0.5)
    run = train(make_pairs(4), make_pairs(8, "more"), row, tmp_path / "out", seed=0)
    assert (run["real"], run["synthetic"], run["validation_pairs"]) == (0, 6, 2)


# pictures and rows ---------------------------------------------------------------------------------------------------


def test_the_worst_and_the_best_cases_are_drawn(make_pairs, make_row, tmp_path):
    scores = {f"real{n:03d}": s for n, s in enumerate((0.5, 0.1, 0.9, 0.7, 0.3, 0.8))}
    assert cases(scores) == (["real001", "real004", "real000", "real003"], ["real002", "real005", "real003", "real000"])
    (tmp_path / "out").mkdir()
    real = make_pairs(6)
    train(real, make_pairs(0, "none"), make_row(), tmp_path / "out", seed=0)
    drawn = draw_cases(load_segmenter(tmp_path / "out"), real, scores)
    assert drawn.shape == (2 * 196, 4 * 196, 3)
    assert ((drawn == (255, 255, 0)).all(2)).any()
    assert read_image(real.folder / real.pairs[0].image).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "ce_dice"}, "ce_dice is for plain_unet"),
        ({"loss": "structure_contrast"}, "only a ctnet gives"),
        ({"schedule": "steps"}, "milestones: needed"),
        ({"milestones": (3,)}, "and for no other"),
        ({"warmup": 0.1}, "only for schedule: poly"),
        (
            {"scales": {"draw": "each", "factors": (1.0,), "probabilities": (1.0,), "align_corners": True}},
            "only with draw",
        ),
        ({"keep": "best"}, "best_val"),
        ({"early_stop": 3, "budget": "equal_steps"}, "need budget: equal_epochs"),
        ({"early_stop": 3, "keep": "best_test"}, "chooses weights alone"),
        ({"network": "ctnet", "encoder": None, "decoder_channels": (16,), "input_px": 32}, "64 px or more"),
    ],
)
def test_a_recipe_that_does_not_fit_together_is_refused(make_row, changes, words):
    with pytest.raises(ValidationError, match=words):
        make_row(**changes)
    assert ArchitectureRow.model_fields["keep"].default == "last"
