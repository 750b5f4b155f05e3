"""Computed memory: tensors without data are counted as real ones are, and what should save memory does."""

import functools

import pytest
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.memory_computed import Setting, computed
from benchmarks.networks.sd15 import build

pytestmark = pytest.mark.heavy
SETTING = Setting(size_px=64, micro_batch=2)


@pytest.fixture(scope="module")
def of():
    """Return the function that computes a setting on tiny networks without data."""
    mode = FakeTensorMode()
    with mode:
        nets = build("tiny")

    @functools.cache
    def compute(**changes):
        with mode:
            return computed(nets, SETTING._replace(**changes))

    return compute


def test_tensors_without_data_are_counted_as_real_ones_are(of):
    assert of() == computed(build("tiny"), SETTING)
    assert of()["peak"] == sum(value for name, value in of().items() if name != "peak")


def test_what_saves_memory_does(of):
    frozen = of(checkpointing=False, train_decoder=False)
    assert of()["activations"] < frozen["activations"]
    assert frozen["weights"] == of()["weights"]
    assert frozen["gradients"] < of()["gradients"]
    assert frozen["states"] == 2 * frozen["gradients"]
