"""What a machine cannot do is said."""

from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

from data.pairs import training
from data.pairs.errors import UserError
from siamese.base.devices import computing_on
from siamese.base.training_state import SCHEDULES

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets variables for an accelerator of this test's own."""

    def choose(**variables):
        AcceleratorState._reset_state(reset_partial_state=True)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return training.accelerator()

    yield choose
    AcceleratorState._reset_state(reset_partial_state=True)


@without_gpu
@pytest.mark.parametrize("named", ["0", "0,1", "GPU-5f3c"])
def test_a_gpu_that_was_asked_for_and_is_not_there_is_named(environment, named):
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES is {named}") as caught:
        environment(CUDA_VISIBLE_DEVICES=named)
    assert "ACCELERATE_USE_CPU=true" in caught.value.problems[1]


@without_gpu
def test_a_gpu_whose_driver_is_too_old_is_no_gpu(environment, monkeypatch):
    """NVML counts it all the same; a stand-in for its answer."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES is 0"):
        environment(CUDA_VISIBLE_DEVICES="0")


@pytest.mark.parametrize("steps", range(1, 31))
def test_one_cycle_runs_to_its_end_however_short(steps):
    cfg = SimpleNamespace(lr=1e-3, steps=steps)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], cfg.lr)
    schedule = SCHEDULES["one_cycle"](optimizer, cfg)
    for _ in range(steps):
        optimizer.step()
        schedule.step()


@without_gpu
@pytest.mark.parametrize("named", ["", "-1", "NoDevFiles", "-1,0"])
def test_names_that_mean_no_gpu_ask_for_none(environment, named):
    assert environment(CUDA_VISIBLE_DEVICES=named).device.type == "cpu"


@without_gpu
def test_who_asks_for_the_cpu_gets_it(environment):
    assert environment(CUDA_VISIBLE_DEVICES="0", ACCELERATE_USE_CPU="true").device.type == "cpu"


@pytest.mark.parametrize("computes", [False, True])
def test_bf16_is_refused_where_it_would_be_imitated(monkeypatch, computes):
    """A stand-in for the answer of a T4: bf16 with emulation, and not without."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or computes
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    training.check_precision("no", "cuda")
    training.check_precision("fp16", "cuda")
    training.check_precision("bf16", "cpu")
    if computes:
        training.check_precision("bf16", "cuda")
        return
    with pytest.raises(UserError, match="ACCELERATE_MIXED_PRECISION is bf16 in the environment, which Tesla T4 cannot"):
        training.check_precision("bf16", "cuda")


def test_a_generator_may_be_loaded_twice_on_the_device_that_was_taken(environment):
    assert environment().device.type == "cpu"
    for name in ("cpu", "cpu"):
        with computing_on(name):
            assert training.accelerator().device.type == "cpu"
    with pytest.raises(UserError, match="computes on cpu already"), computing_on("meta"):
        pass
