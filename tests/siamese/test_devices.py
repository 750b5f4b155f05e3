"""What a machine cannot do is said; processes wait for each other, and add their gradients in few messages."""

import json
import os
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState

from data.pairs import devices
from data.pairs.errors import UserError
from siamese.training.gradients import BUCKET_BYTES, _buckets
from tests.contracts.imports import ROOT

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets variables for an accelerator of this test's own."""

    def choose(**variables):
        AcceleratorState._reset_state(reset_partial_state=True)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return devices.accelerator()

    yield choose
    AcceleratorState._reset_state(reset_partial_state=True)


@without_gpu
@pytest.mark.parametrize("named", ["0", "0,1", "GPU-5f3c"])
def test_a_gpu_that_was_asked_for_and_is_not_there_is_named(environment, named):
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES is {named}") as caught:
        environment(CUDA_VISIBLE_DEVICES=named)
    assert "ACCELERATE_USE_CPU=true" in caught.value.problems[1]


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
    devices._check_precision("no", "cuda")
    devices._check_precision("fp16", "cuda")
    devices._check_precision("bf16", "cpu")
    if computes:
        devices._check_precision("bf16", "cuda")
        return
    with pytest.raises(UserError, match="ACCELERATE_MIXED_PRECISION is bf16 in the environment, which Tesla T4 cannot"):
        devices._check_precision("bf16", "cuda")


def test_buckets_hold_up_to_64_mb_of_one_type():
    sizes = [BUCKET_BYTES // 2, BUCKET_BYTES // 2, 4, 2 * BUCKET_BYTES, 4]
    tensors = [torch.empty(size // 4, device="meta") for size in sizes]
    tensors.insert(1, torch.empty(3, device="meta", dtype=torch.float64))
    found = [[t.nbytes for t in bucket] for bucket in _buckets(tensors)]
    assert found == [sizes[:2], sizes[2:3], sizes[3:4], sizes[4:], [24]]
    assert BUCKET_BYTES == 64 * 2**20


TOGETHER = """
import json, sys
import torch
from siamese.training import gradients
from data.pairs.devices import PATIENCE
from data.pairs.devices import accelerator
from tests.siamese.conftest import TRAINING

processes = accelerator()
rank, group = processes.process_index, torch.distributed.group.WORLD
waits = group._get_backend(torch.device("cpu")).options._timeout
gradients.BUCKET_BYTES = 4000
rng = torch.Generator().manual_seed(rank)
shapes = [(16, 3, 3, 3)] * 20 + [(7,)] * 20 + [(40, 40)] * 3 + [()]
parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
parameters += [torch.nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(3)]
for parameter in parameters[:20]:
    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
drawn = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
expected = [tensor.clone() for tensor in drawn]
if rank == 1:
    expected[5] = torch.zeros_like(expected[5])
for tensor in expected:
    torch.distributed.all_reduce(tensor)

def compute(micro):
    for number, (parameter, gradient) in enumerate(zip(parameters, drawn)):
        if number != 9 and not (number == 5 and rank == 1):
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
    return torch.tensor([1.0, float(rank)])

original, calls = torch.distributed.all_reduce, []
def counted(tensor, *rest, **options):
    calls.append(tensor.numel())
    return original(tensor, *rest, **options)
torch.distributed.all_reduce = counted
sums, _ = gradients.accumulate(compute, 1, parameters, processes, TRAINING)
same = [torch.equal(p.grad, e) for n, (p, e) in enumerate(zip(parameters, expected)) if n != 9]
layouts = all(p.grad.stride() == p.stride() for n, p in enumerate(parameters) if n != 9)
found = {"same": all(same), "layouts": layouts, "left": parameters[9].grad is None, "sums": sums.tolist()}
found |= {"messages": len(calls), "tensors": len(parameters), "patient": waits == PATIENCE}
with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
    json.dump(found, file)
"""


def test_two_processes_add_their_gradients_in_few_messages(tmp_path):
    """To the bit the sums of one message a tensor; also where one process, or none, has a gradient."""
    (tmp_path / "run.py").write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*command, str(tmp_path / "run.py"), str(tmp_path)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found.pop("messages") == 2 + 15  # flags, loss terms, buckets of 4000 bytes
        assert found == {
            "same": True, "layouts": True, "left": True, "sums": [2.0, 1.0], "tensors": 47, "patient": True
        }  # fmt: skip
