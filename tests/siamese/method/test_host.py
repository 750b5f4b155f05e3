"""What a step asks of the device: nothing is read back, one copy goes there; shown by tensors that hold no numbers."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from siamese.arsdm import step as arsdm_step
from siamese.arsdm.denoise import noise_schedule
from siamese.arsdm.network import build_network
from siamese.base.devices import LateReader, moved, packed, rows_of, unpack
from siamese.base.load import load_scheduler
from siamese.method import step as step_module
from siamese.method.checkpoint import build_networks
from siamese.method.loss_weights import loss_weights
from siamese.method.registry import training_step
from siamese.method.step import online_step, siamese_step
from siamese.training.train import draw_batch
from tests.siamese.arsdm.test_arsdm import TINY
from tests.siamese.conftest import SIAMESE, TRAINING
from tests.siamese.method.oracle import official_step
from tests.siamese.method.test_methods import ALL_ROWS
from tests.siamese.method.test_step import PAPER, gradients, worst_difference, zero

READS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "equal", "unique")
ROWS = {**ALL_ROWS, "dense": SIAMESE, "weighted": SIAMESE.model_copy(update={"loss_reweight": "arsdm"})}


class Traffic(TorchDispatchMode):
    """Counts what makes the host wait for tensors on `device`, and the copies to and from it."""

    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.device, self.reads, self.to_device = device, [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        flat = [a for arg in args for a in (arg if isinstance(arg, list | tuple) else [arg])]
        there = [a for a in flat if isinstance(a, torch.Tensor) and a.device.type == self.device]
        by_mask = name.startswith("index") and any(
            isinstance(a, torch.Tensor) and a.dtype == torch.bool for a in flat[1:]
        )
        if there and (name in READS or by_mask):
            self.reads.append(name)
        result = func(*args, **(kwargs or {}))
        if name in ("to", "_to_copy", "copy_") and isinstance(result, torch.Tensor):
            source = args[1] if name == "copy_" else args[0]
            if source.device.type != result.device.type:
                if result.device.type == self.device:
                    self.to_device += 1
                else:
                    self.reads.append(name)
        return result


AUGMENTED = ("siamese", "siamese_image_branch", "dense", "weighted")
CASES = [(name, *case) for name in ROWS for case in ((0, False), (40, True))] + [(n, 40, False) for n in AUGMENTED]


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "k", "late"), CASES)
def test_a_step_reads_nothing_from_the_device(name, k, late, training_data, base_dir):
    """On tensors without numbers a read would raise too; the batch goes there by one copy and its timesteps by one."""
    row = ROWS[name]
    networks = build_networks(row, base_dir)
    for network in networks.all():
        network.to("meta")
    waiting = [] if late else None
    scheduler = load_scheduler(base_dir)
    share = torch.tensor(1 / 3, device="meta")
    with Traffic() as traffic:
        batch = draw_batch(training_data, [0, 1, 2], [0, 1, 2], scheduler, TRAINING, "meta")
        assert traffic.to_device == 1
        batch = batch._replace(timesteps=torch.tensor([100, 500, 200]))
        terms = training_step(networks, row, batch, k, 60, share, waiting)
        if waiting:
            online_step(networks.controlnet, networks.unet, waiting, share, 1)
        torch.stack([term.sum() for term in terms.values()])
    assert traffic.reads == []
    trained = [p for network in networks.all() for p in network.parameters() if p.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    assert bool(waiting) == (late and name in AUGMENTED)


@pytest.mark.parametrize("refine", ["off", "one_step"])
def test_a_step_of_arsdm_reads_nothing_from_the_device(refine):
    row = TINY.model_copy(update={"refine": refine})
    network, rng = build_network(row).to("meta"), np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (3, 16, 16, 3), np.uint8), rng.integers(0, 2, (3, 16, 16), np.uint8)
    with Traffic() as traffic:
        batch = arsdm_step.draw_batch(images, masks, [0, 1, 2], [0, 1, 2], noise_schedule(), 0, "meta")
        assert traffic.to_device == 1
        batch = batch._replace(timesteps=torch.tensor([3, 900, 5]))
        seen = []

        def loss(images, masks):
            seen.append(len(images))
            return (images.mean(1, keepdim=True) * masks).mean()

        refinement = None if refine == "off" else loss
        share = torch.tensor(1 / 3, device="meta")
        arsdm_step.add_step_gradients(network, batch, noise_schedule(), row, share, refinement)
    assert traffic.reads == []
    assert seen == ([] if refine == "off" else [2])


def test_traffic_is_noticed():
    """The stand-in itself: each way to read from a device that holds numbers."""
    tensor = torch.arange(4.0)
    for read in (
        lambda: bool((tensor > 1).any()),
        lambda: tensor[tensor > 1],
        lambda: tensor.max().item(),
        lambda: tensor.masked_select(tensor > 1),
    ):
        with Traffic("cpu") as traffic:
            read()
        assert traffic.reads


def test_a_packed_batch_is_what_it_was():
    tensors = [torch.randn(2, 3), torch.arange(5), torch.tensor([[1, 0]], dtype=torch.uint8), torch.tensor(2.5)]
    again = unpack(packed(tensors), tensors)
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(tensors, again, strict=True))
    there = moved(tensors, "meta")
    assert [(t.shape, t.dtype, t.device.type) for t in there] == [(t.shape, t.dtype, "meta") for t in tensors]
    assert all(a is b for a, b in zip(moved(tensors, "cpu"), tensors, strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rows_keep_their_memory_format(layout):
    tensor = torch.randn(5, 3, 4, 4).contiguous(memory_format=layout)
    chosen = torch.tensor([True, False, True, True, False])
    found = rows_of(tensor, torch.tensor([0, 2, 3]))
    assert torch.equal(found, tensor[chosen])
    assert found.stride() == tensor[chosen].stride()


def test_losses_are_read_one_step_late_and_none_is_lost():
    seen = []
    reader = LateReader(lambda step, terms: seen.append((step, terms)))
    reader.put(0, torch.tensor([1.0, 2.0]))
    assert seen == []
    reader.put(1, torch.tensor([3.0, 4.0]))
    assert seen == [(0, [1.0, 2.0])]
    reader.flush()
    reader.flush()
    assert seen == [(0, [1.0, 2.0]), (1, [3.0, 4.0])]


@pytest.fixture
def passes(monkeypatch):
    """Return the list of the sizes of the passes of L_m', as they are made."""
    original, sizes = step_module.mask_step, []

    def counted(controlnet, unet, batch, *rest):
        sizes.append(len(batch.timesteps))
        return original(controlnet, unet, batch, *rest)

    monkeypatch.setattr(step_module, "mask_step", counted)
    return sizes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("micro", [1, 2, 3, 8])
def test_one_late_pass_gives_the_gradients_of_many(make_networks, make_batch, passes, micro, weighted):
    """To 1e-10 in float64 over several micro-batches, with no more samples at a time; so does the official step."""
    controlnet, unet = make_networks()
    batch = make_batch([100, 900, 200, 150, 201, 10, 0, 600])
    weights = loss_weights(40, 60, batch.timesteps, PAPER)
    if weighted:
        weights = weights._replace(lesion=torch.rand(8, 1, 8, 8, dtype=torch.float64))
    results, terms = [], []
    for waiting in (None, []):
        zero(controlnet, unet)
        passes.clear()
        found = []
        for start in range(0, 8, micro):
            part = slice(start, start + micro)
            lesion = None if weights.lesion is None else weights.lesion[part]
            own = weights._replace(online=weights.online[part], lesion=lesion, waiting=waiting)
            found.append(siamese_step(controlnet, unet, type(batch)(*(t[part] for t in batch)), own, 1 / 8))
        if waiting:
            online_step(controlnet, unet, waiting, 1 / 8, micro)
            assert len(passes) == math.ceil(5 / micro)
            assert max(passes) <= micro
        results.append(gradients(controlnet, unet))
        terms.append({name: torch.cat([part[name] for part in found]) for name in found[0]})
    assert worst_difference(results[1], results[0]) < 1e-10
    assert all(torch.allclose(terms[1][name], terms[0][name], rtol=1e-12) for name in terms[0])
    if not weighted:
        zero(controlnet, unet)
        official_step(controlnet, unet, batch, step=40, num_steps=60)
        assert worst_difference(results[1], gradients(controlnet, unet)) < 1e-10


def test_without_selected_samples_there_is_no_late_pass(make_networks, make_batch, passes):
    controlnet, unet = make_networks()
    batch, waiting = make_batch([500, 700]), []
    weights = loss_weights(40, 60, batch.timesteps, SIAMESE)
    siamese_step(controlnet, unet, batch, weights._replace(waiting=waiting), 1 / 2)
    assert waiting == passes == []
