"""Validation: what is held out, what is looked at, and which weights are kept."""

from dataclasses import replace

import pytest
import torch

from data.pairs.errors import UserError
from segmentation.training.validation import hold_out, soft_dice, validation_sets


def test_what_is_held_out_takes_its_group_and_what_was_made_from_it_along(make_pairs):
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


def test_the_best_epoch_is_kept_and_early_stopping_ends_the_run(fit, make_pairs, make_row, monkeypatch):
    scores = iter([0.2, 0.6, 0.5, 0.4, 0.3, 0.9])
    monkeypatch.setattr("segmentation.training.run.look", lambda *_: (next(scores), 1.0))
    row = make_row(keep="best_val", early_stop=3, epochs=6)
    real, none = make_pairs(6), make_pairs(0, "none")
    folder, run = fit("a", real, none, row, val=make_pairs(2, "val"))
    assert (run["kept_epoch"], run["steps"], run["validation_pairs"]) == (2, 10, 2)
    assert [line.split(",")[2] for line in (folder / "curve.csv").read_text().splitlines()][::2] == [
        "val_dice", "0.2", "0.6", "0.5", "0.4", "0.3",
    ]  # fmt: skip


def test_validation_that_is_needed_must_be_there_and_choosing_on_test_sets_is_warned_of(make_pairs, make_row, capsys):
    real, none = make_pairs(6), make_pairs(0, "none")
    with pytest.raises(UserError, match="need validation pairs, and there is no val split"):
        validation_sets(make_row(keep="best_val"), real, none, None, [], 0)
    train_on, _, looked_at = validation_sets(make_row(keep="best_val", val_share=0.3), real, none, None, [], 0)
    assert (len(train_on), [len(pair_set) for pair_set in looked_at]) == (4, [2])
    assert validation_sets(make_row(), real, none, make_pairs(2, "val"), [real], 0)[2] == []
    assert not capsys.readouterr().err
    assert validation_sets(make_row(keep="best_test"), real, none, None, [none], 0)[2] == [none]
    assert "chosen on the test sets" in capsys.readouterr().err
    with pytest.raises(UserError, match="needs test sets"):
        validation_sets(make_row(keep="best_test"), real, none, None, [], 0)


def test_looking_at_validation_pairs_does_not_change_the_training(fit, make_pairs, make_row):
    args = {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 8, 8), "num_heads": (1, 1, 1, 1)}
    common = {"network": "ctnet", "encoder": None, "encoder_args": args, "decoder_channels": (8,), "epochs": 2}
    real, none, val = make_pairs(4), make_pairs(0, "none"), make_pairs(2, "val")
    files = []
    for name, changes in (("blind", {}), ("looking", {"early_stop": 50})):
        folder, _ = fit(name, real, none, make_row(**common, loss="structure_contrast", **changes), val=val)
        files.append((folder / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_synthetic_pairs_alone_can_be_validated_on_held_out_real_ones(fit, make_pairs, make_row):
    row = make_row(real_pairs=False, added_pairs=6, keep="best_val", val_share=0.5)
    _, run = fit("a", make_pairs(4), make_pairs(8, "more"), row)
    assert (run["real"], run["synthetic"], run["validation_pairs"]) == (0, 6, 2)
