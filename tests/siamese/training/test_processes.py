"""Two processes: they wait for each other, add their gradients in few messages, train and sample as one does."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from data.masks.config import RealMasks
from data.masks.masks import write_masks
from data.pairs.files import sha256_tree
from data.pairs.manifest import read_pairs
from siamese.base.latents import cache_latents, load_training_data
from siamese.fit import fit, load_data
from siamese.load import load
from siamese.method import registry
from siamese.sampling.sample import sample_images
from siamese.training.loop import Run
from siamese.training.train import train_generator
from tests.contracts.imports import ROOT
from tests.siamese.conftest import SAMPLING, SIAMESE, TRAINING
from tests.siamese.singan_seg.test_training import ROW

pytestmark = pytest.mark.heavy

TOGETHER = """
import json, sys
from pathlib import Path
import torch
from siamese.training import gradients
from data.pairs.training import PATIENCE
from data.pairs.training import accelerator
from data.pairs.manifest import read_pairs
from siamese.base.latents import load_training_data
from siamese.load import load
from siamese.sampling.sample import sample_images
from siamese.training.loop import Run
from siamese.training.train import train_generator
from siamese.fit import fit, load_data
from tests.siamese.conftest import SAMPLING, SIAMESE, TRAINING
from tests.siamese.singan_seg.test_training import ROW

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
real, latents, base, work, out, masks, images = map(Path, sys.argv[1:])
(out / f"{rank}.json").write_text(json.dumps(found))
torch.distributed.all_reduce, gradients.BUCKET_BYTES = original, 64 * 2**20

train_generator(load_training_data(read_pairs(real), latents), SIAMESE, Run(TRAINING, base, out, work))
sample_images(read_pairs(masks), load(out, base, SAMPLING), SAMPLING, images, {"generator": "x"})
fit(load_data(ROW, read_pairs(real), latents), ROW, Run(TRAINING, base, out.parent / "own", out.parent / "own-work"))
"""


@pytest.fixture(scope="module")
def together(real, base_dir, tmp_path_factory):
    """Return the folder of what two processes have done, and what they said; their training goes on where one began."""
    folder = tmp_path_factory.mktemp("together")
    write_masks(real, "real", RealMasks(kind="real", copies=1), folder / "masks")
    (folder / "latents").mkdir()
    cache_latents(real, "a polyp", base_dir, folder / "latents")
    (folder / "run.py").write_text(TOGETHER)
    shutil.copytree(begun(real, base_dir, folder), folder / "work-2")
    (folder / "out").mkdir()
    folders = [real.folder, folder / "latents", base_dir, folder / "work-2", folder / "out", folder / "masks/1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(path) for path in (folder / "run.py", *folders, folder / "two")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stderr


def test_two_processes_add_their_gradients_in_few_messages(together):
    """To the bit the sums of one message a tensor; also where one process, or none, has a gradient."""
    for rank in range(2):
        result = json.loads((together[0] / f"out/{rank}.json").read_text())
        assert result.pop("messages") == 2 + 15  # flags, loss terms, buckets of 4000 bytes
        assert result == {
            "same": True, "layouts": True, "left": True, "sums": [2.0, 1.0], "tensors": 47, "patient": True
        }  # fmt: skip


def test_two_processes_train_and_sample_the_same(together, base_dir, generators):
    """Training begun by one process goes on with two; images are equal to the byte."""
    folder, said = together
    assert "resumed at step 2" in said
    assert "on 2 x cpu" in said
    ours, theirs = (load_file(f / "generator.safetensors") for f in (folder / "out", generators["siamese"]))
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-5) for name in theirs)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sampler = load(folder / "out", base_dir, SAMPLING)
    sample_images(read_pairs(folder / "masks/1"), sampler, SAMPLING, folder / "one", {"generator": "x"})
    torch.set_num_threads(threads)
    assert sha256_tree(folder / "one") == sha256_tree(folder / "two")


def test_two_processes_take_turns_at_groups_of_pyramids(together, real, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fit(load_data(ROW, real, tmp_path), ROW, Run(TRAINING, tmp_path, tmp_path / "own", tmp_path / "work"))
    torch.set_num_threads(threads)
    assert sha256_tree(tmp_path / "own") == sha256_tree(together[0] / "own")


def begun(real, base_dir, tmp_path):
    """Return the scratch folder of a training that one process has left after two steps."""
    original, work, out = registry.loss_weights, tmp_path / "work-1", tmp_path / "out-1"
    work.mkdir(), out.mkdir()

    def crash(step, *rest):
        if step == 3:
            raise KeyboardInterrupt
        return original(step, *rest)

    data = load_training_data(real, tmp_path / "latents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "loss_weights", crash)
        with pytest.raises(KeyboardInterrupt):
            train_generator(data, SIAMESE, Run(TRAINING, base_dir, out, work))
    return work
