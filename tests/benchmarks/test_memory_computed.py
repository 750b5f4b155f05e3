"""Computed memory: tensors without data are counted as real ones are, and what should save memory does."""

import pytest
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.memory_computed import STATES, Setting, computed
from benchmarks.networks.sd15 import build

pytestmark = pytest.mark.heavy
SETTING = Setting(size_px=64, micro_batch=2)


@pytest.fixture(scope="module")
def of():
    """Return the function that computes a setting on tiny networks without data."""
    mode = FakeTensorMode()
    with mode:
        nets = build("tiny")

    def compute(**changes):
        with mode:
            return computed(nets, SETTING._replace(**changes))

    return compute


@pytest.mark.parametrize("checkpointing", [True, False])
def test_tensors_without_data_are_counted_as_real_ones_are(of, checkpointing):
    found = of(checkpointing=checkpointing)
    assert found == computed(build("tiny"), SETTING._replace(checkpointing=checkpointing))
    assert found["peak"] == sum(value for name, value in found.items() if name != "peak")


def test_what_saves_memory_does(of):
    whole = of(checkpointing=False)
    assert of()["activations"] < whole["activations"]
    assert of(micro_batch=1)["activations"] < of()["activations"]
    eight = of(optimizer="adamw_8bit")
    assert eight["states"] == pytest.approx(whole["states"] * STATES["adamw_8bit"] / STATES["adamw"], abs=1)
    frozen = of(train_decoder=False)
    assert frozen["weights"] == whole["weights"]
    assert frozen["gradients"] < whole["gradients"]
    assert frozen["states"] == 2 * frozen["gradients"]
