"""Training and prediction with real networks at toy width."""

import csv
import json

import pytest
import torch
from safetensors.torch import load_file

from data.pairs.errors import UserError
from segmentation.inference.predict import load_segmenter
from segmentation.measures.evaluate import measure
from segmentation.training.batches import chosen_pairs, count_batches
from segmentation.training.train import train

SEGFORMER = {"network": "segformer", "encoder": "mit_b0", "decoder_channels": (16,)}


@pytest.mark.heavy
def test_learns_eight_ellipses(fit, make_pairs, make_row):
    real, none = make_pairs(8), make_pairs(0, "none")
    folder, run = fit("a", real, none, make_row(epochs=40))
    assert run["steps"] == 80
    scores = measure(load_segmenter(folder)(real.images()), real.masks(), [pair.id for pair in real.pairs])
    assert scores.images["fg_image/dice"].mean() >= 0.9


@pytest.mark.parametrize("changes", [{}, {"augment": {"flip": 0.5, "scale": 0.1}, "schedule": "constant"}, SEGFORMER])
def test_the_same_seed_gives_the_same_bytes(fit, make_pairs, make_row, changes):
    real, more, row = make_pairs(4), make_pairs(2, "more", seed=1), make_row(**changes)
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # the caller's stream moves on between runs and must not matter
        folder, _ = fit(name, real, more, row, seed)
        files.append([(folder / file).read_bytes() for file in ("model.safetensors", "config.json", "curve.csv")])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]


def test_training_leaves_the_callers_stream_alone(fit, make_pairs, make_row):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    folder, _ = fit("a", make_pairs(4), make_pairs(0, "none"), make_row())
    load_segmenter(folder)
    assert torch.equal(torch.rand(2), expected)


def test_initial_weights_do_not_depend_on_the_pairs(fit, make_pairs, make_row):
    still = make_row(lr=1e-30, weight_decay=0.0, schedule="constant")
    real, none, more = make_pairs(4), make_pairs(0, "none"), make_pairs(3, "more", seed=1)
    alone, added, other = (
        load_file(fit(name, real, synthetic, still, seed)[0] / "model.safetensors")
        for name, synthetic, seed in (("alone", none, 0), ("added", more, 0), ("other", none, 1))
    )
    learned = [name for name in alone if "running" not in name and "num_batches" not in name]
    for name in learned:  # biases start at zero and move by the learning rate
        torch.testing.assert_close(alone[name], added[name], rtol=0, atol=1e-20)
    assert any(not torch.equal(alone[name], other[name]) for name in learned if name.endswith("conv1.weight"))


@pytest.mark.parametrize(
    ("budget", "real", "synthetic", "steps"),
    [
        ("equal_epochs", 10, 0, 9),
        ("equal_epochs", 10, 10, 15),
        ("equal_steps", 10, 0, 9),
        ("equal_steps", 10, 10, 9),
        ("equal_steps", 10, 50, 9),
    ],
)
def test_budgets_in_steps(make_row, budget, real, synthetic, steps):
    assert count_batches(make_row(budget=budget, epochs=3), real, synthetic) == steps


@pytest.mark.parametrize(("budget", "steps"), [("equal_epochs", 6), ("equal_steps", 4)])
def test_the_files_say_what_was_done(fit, make_pairs, make_row, budget, steps):
    row = make_row(budget=budget, epochs=2)
    folder, run = fit("a", make_pairs(5), make_pairs(5, "more", seed=1), row, seed=7)
    counted = {"seed": 7, "real": 5, "synthetic": 5, "steps": steps, "kept_epoch": run["kept_epoch"]}
    assert run == {**counted, "validation_pairs": 0, "parameters": run["parameters"]}
    config = json.loads((folder / "config.json").read_text())
    assert config == {"row": row.model_dump(mode="json"), **run}
    batch_counters = [
        v for k, v in load_file(folder / "model.safetensors").items() if k.endswith("num_batches_tracked")
    ]
    assert {int(counter) for counter in batch_counters} >= {steps}
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, steps + 1))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "curve.csv", "model.safetensors"]


@pytest.mark.heavy
def test_a_long_curve_is_thinned(fit, make_pairs, make_row):
    folder, run = fit("a", make_pairs(2, size_px=32), make_pairs(0, "none"), make_row(epochs=230, input_px=32))
    steps = [int(line.split(",")[0]) for line in (folder / "curve.csv").read_text().splitlines()[1:]]
    assert len(steps) == 200
    assert steps[-1] == run["steps"] == 230


def test_a_diverging_run_names_its_step(fit, make_pairs, make_row):
    row = make_row(lr=1e30, schedule="constant", epochs=9)
    with pytest.raises(UserError, match=r"at step \d+ of 18") as caught:
        fit("a", make_pairs(8), make_pairs(0, "none"), row)
    assert "lower lr" in caught.value.problems[0]


def test_a_training_is_named_with_the_key_of_its_settings(make_pairs, make_row, tmp_path):
    """Segmenters and the judge are one function, and its messages tell them apart."""
    row = make_row(lr=1e30, schedule="constant", epochs=9)
    with pytest.raises(UserError, match=r"judge: the loss .* at step \d+ of 18") as caught:
        train(make_pairs(8), make_pairs(0, "none"), row, tmp_path, seed=0, settings="judge")
    assert caught.value.problems[0] == "lower lr of judge, which is 1e+30"


def test_weights_that_are_no_numbers_after_the_last_step_are_refused(make_pairs, make_row, tmp_path):
    row = make_row(lr=1e300, schedule="constant", epochs=1, batch=8)
    with pytest.raises(UserError, match="weights are not finite after step 0 of 1"):
        train(make_pairs(8), make_pairs(0, "none"), row, tmp_path, seed=0)


def test_no_real_pairs_is_an_error(fit, make_pairs, make_row):
    with pytest.raises(UserError, match="no pairs to train on"):
        fit("a", make_pairs(0), make_pairs(2, "more"), make_row())


def test_added_pairs_can_be_counted_out_and_trained_on_alone(fit, make_pairs, make_row):
    real, added = make_pairs(8), make_pairs(16, "more")
    few, more = (chosen_pairs(real, added, make_row(added_pairs=n))[1] for n in (4, 9))
    assert (len(few), len(more), set(few.pairs) < set(more.pairs)) == (4, 9, True)
    assert list(few.pairs) == sorted(few.pairs, key=lambda pair: pair.id)
    _, run = fit("a", real, added, make_row(real_pairs=False, added_pairs=12, batch=4, epochs=2))
    assert (run["real"], run["synthetic"], run["steps"]) == (0, 12, 6)
    _, run = fit("b", real, added, make_row(real_pairs=False, added_pairs=12, batch=4, epochs=2, budget="equal_steps"))
    assert run["steps"] == 4
    with pytest.raises(UserError, match="holds 16 pairs, and added_pairs asks for 17"):
        chosen_pairs(real, added, make_row(added_pairs=17))
    with pytest.raises(UserError, match="no pairs to train on"):
        chosen_pairs(real, make_pairs(0, "none"), make_row(real_pairs=False))
