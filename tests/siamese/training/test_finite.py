"""Every training that stops being numbers says which one it is, at which step, and which setting helps."""

import pytest
import torch

from data.pairs.errors import UserError
from data.pairs.training import LARGEST, check_losses, check_weights
from siamese.arsdm.train import train_arsdm
from siamese.base.latents import PixelData
from siamese.base.pretrain import pretrain
from siamese.config.base import PretrainedHere
from siamese.training.loop import Run, pair_order
from siamese.training.train import train_generator
from tests.siamese.arsdm.test_arsdm import TINY
from tests.siamese.conftest import BASE, CONTROLNET, SIAMESE, TRAINING


def test_losses_that_are_numbers_pass_and_others_are_named():
    check_losses("t", 3, 9, {"a": 1.0, "b": -2.0, "c": LARGEST / 2}, ["x"])
    for value, what in ((float("nan"), "is not finite"), (float("inf"), "is not finite"), (6.6e24, "has diverged")):
        with pytest.raises(UserError, match=f"t: the loss {what} at step 3 of 9") as caught:
            check_losses("t", 3, 9, {"a": 1.0, "b": value}, ["lower it", "or that"])
        assert caught.value.problems == (f"b: {value:g}",)
        assert "lower it" in caught.value.title
        with pytest.raises(UserError, match=what) as caught:
            check_losses("t", 3, 9, {"a": value}, ["lower it"])
        assert caught.value.problems == ("lower it",)


def test_weights_that_are_no_numbers_are_counted():
    check_weights("t", 9, [torch.ones(3), torch.zeros(())], ["x"])
    with pytest.raises(UserError, match="t: 1 weights are not finite after step 8 of 9"):
        check_weights("t", 9, [torch.ones(3), torch.tensor([1.0, float("nan")])], ["x"])


def base_of(part: str, **changes) -> PretrainedHere:
    settings = BASE.model_dump()
    return PretrainedHere.model_validate({**settings, part: {**settings[part], **changes}})


@pytest.mark.parametrize("part", ["vae", "unet"])
def test_the_base_model(part, real, tmp_path):
    (tmp_path / "out").mkdir(), (tmp_path / "work").mkdir()
    cfg = base_of(part, lr=1e30, steps=4)
    with pytest.raises(UserError, match=rf"base {part}: .* step \d of 4") as caught:
        pretrain(real.images(), "a polyp", cfg, tmp_path / "out", tmp_path / "work")
    assert f"base.{part}.lr" in caught.value.problems[0]


@pytest.mark.parametrize("part", ["vae", "unet"])
def test_the_last_step_of_the_base_model_counts_too(part, real, tmp_path):
    """Its loss was a number, and its weights no longer are: nothing looked at them."""
    (tmp_path / "out").mkdir(), (tmp_path / "work").mkdir()
    with pytest.raises(UserError, match=f"base {part}: .* weights are not finite after step 0 of 1"):
        pretrain(real.images(), "a polyp", base_of(part, lr=1e300, steps=1), tmp_path / "out", tmp_path / "work")


@pytest.mark.parametrize(("row", "key"), [(SIAMESE, "training.lr"), (CONTROLNET, "lr of the controlnet in generators")])
def test_a_generator(row, key, training_data, base_dir, tmp_path):
    row = row if key == "training.lr" else row.model_copy(update={"lr": 1e30})
    cfg = TRAINING.model_copy(update={"lr": 1e30, "schedule": "constant"})
    with pytest.raises(UserError, match=rf"{row.method}: .* at step \d of 6") as caught:
        train_generator(training_data, row, Run(cfg, base_dir, tmp_path, tmp_path))
    assert f"lower {key} (now 1e+30)" in caught.value.title


def test_arsdm(real, tmp_path):
    cfg = TRAINING.model_copy(update={"lr": 1e30, "schedule": "constant"})
    with pytest.raises(UserError, match=r"arsdm: .* at step \d of 6; lower training.lr"):
        train_arsdm(PixelData(real.images(), real.masks()), TINY, Run(cfg, tmp_path, tmp_path, tmp_path))


def test_a_bad_pair_stops_at_its_step_and_no_checkpoint_holds_it(training_data, base_dir, tmp_path):
    """Losses are read one step late, but before every checkpoint."""
    order = pair_order(len(training_data.mean), TRAINING.seed)
    seen = [next(order) for _ in range(TRAINING.steps * TRAINING.batch)]
    pair = seen[-1]
    first = seen.index(pair) // TRAINING.batch
    mean = training_data.mean.clone()
    mean[pair] = float("nan")
    cfg = TRAINING.model_copy(update={"checkpoint_steps": 1})
    with pytest.raises(UserError, match=f"not finite at step {first} of"):
        train_generator(training_data._replace(mean=mean), CONTROLNET, Run(cfg, base_dir, tmp_path, tmp_path))
    assert [path.name for path in tmp_path.glob("step-*")] == ([f"step-{first}"] if first else [])


def test_a_loss_that_is_no_number_in_the_last_step_is_not_lost(training_data, base_dir, tmp_path):
    cfg = TRAINING.model_copy(update={"steps": 1})
    broken = training_data._replace(mean=training_data.mean * float("nan"))
    with pytest.raises(UserError, match="not finite at step 0 of 1"):
        train_generator(broken, CONTROLNET, Run(cfg, base_dir, tmp_path, tmp_path))
