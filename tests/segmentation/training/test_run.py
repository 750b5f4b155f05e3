"""Optimiser steps, their batches, and a run that goes on where it was interrupted."""

import numpy as np
import pytest
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from data.pairs.files import sha256_tree
from segmentation.networks.blocks import Network
from segmentation.training import train as training
from segmentation.training.batches import TrainingPairs
from tests.segmentation.conftest import PVT, SANET


@pytest.fixture
def each_training_forward():
    """Return a function that calls another one with the images of every optimiser step."""
    hooks = []

    def watch(function):
        def before(module, inputs):
            if isinstance(module, Network) and module.training:
                function(inputs[0])

        hooks.append(register_module_forward_pre_hook(before))

    yield watch
    for hook in hooks:
        hook.remove()


def test_three_steps_a_batch_and_an_element_wise_clamp(fit, make_pairs, make_row, each_training_forward, monkeypatch):
    seen, clamped = [], []
    clamp = nn.utils.clip_grad_value_
    each_training_forward(lambda images: seen.append(images.shape[-1]))

    def watch(parameters, value):
        parameters = list(parameters)
        clamp(parameters, value)
        clamped.append(max(float(p.grad.abs().max()) for p in parameters if p.grad is not None))

    monkeypatch.setattr(nn.utils, "clip_grad_value_", watch)
    row = make_row(scales=PVT, gradient_clamp=0.001, epochs=2, input_px=96)
    _, run = fit("a", make_pairs(4, size_px=96), make_pairs(0, "none"), row)
    assert seen == [64, 96, 128] * 2
    assert run["steps"] == 6
    assert max(clamped) == pytest.approx(0.001)


def test_batches_made_ahead_are_those_made_in_turn(make_pairs, make_row):
    real, none, row = make_pairs(7), make_pairs(0, "none"), make_row(augment={"flip": 0.5, "blur": 0.5}, batch=3)
    for one, two in zip(
        TrainingPairs(real, none, row, 0).epoch(1), TrainingPairs(real, none, row, 0, ahead=True).epoch(1), strict=True
    ):
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1], two[1])


@pytest.mark.heavy
@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "schedule": "plateau"}])
def test_an_interrupted_run_ends_with_the_same_bytes(
    fit, make_pairs, make_row, tmp_path, each_training_forward, monkeypatch, changes
):
    row = make_row(epochs=6, keep="best_val", augment={"flip": 0.5}, scales=SANET, **changes)
    real, more, val = make_pairs(6), make_pairs(4, "more", seed=1), make_pairs(3, "val")
    whole, _ = fit("whole", real, more, row, 3, val=val)
    monkeypatch.setattr(training, "SAVE_EVERY_S", -1.0)
    work, count = tmp_path / "work", []
    work.mkdir()

    def fail(images):
        count.append(1)
        if len(count) == 10:
            raise KeyboardInterrupt

    each_training_forward(fail)
    with pytest.raises(KeyboardInterrupt):
        fit("interrupted", real, more, row, 3, val=val, work=work)
    assert (work / "state.pt").is_file()
    resumed, _ = fit("resumed", real, more, row, 3, val=val, work=work)
    assert len(count) == 10 + 18 - 9
    assert sha256_tree(resumed) == sha256_tree(whole)
