"""Peak memory of training at full size, computed without a GPU: a step runs on tensors without data, which are counted.

    python -m benchmarks.memory_computed                                   # the presets for cards of 12, 24 and 48 GB
    python -m benchmarks.memory_computed --cards 24 --micro-batch 1 2 4    # one of them with other micro-batches

Stable Diffusion 1.5 with the dense hint encoder, the step that `siamese` takes. Counted is what PyTorch would hold at
once: weights, gradients, states of the optimiser and the tensors of a micro-batch. Not counted are the context and the
libraries of a GPU, the workspace of its convolutions and what its allocator cannot use; `limit_bytes` leaves room for
these, and `python benchmarks/gpu.py --parts memory` measures them. JSON is the last line.
"""

import argparse
import contextlib
import itertools
import json
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.networks.measuring import autocast
from benchmarks.networks.sd15 import Networks, build
from benchmarks.networks.training import NUM_STEPS, PAPER, trained_parameters
from benchmarks.on_gpu.cards import GIB, limit_bytes
from benchmarks.on_gpu.memory import checkpoint
from pipeline.params.read import read_params
from siamese.method.batch import Batch
from siamese.method.control import decoder_modules
from siamese.method.loss_weights import loss_weights
from siamese.method.step import siamese_step

CPU = torch.device("cpu")
# bytes of the optimiser's states for each weight; 8 bits: two of one byte, and a float32 for each block of 256
STATES = {"adamw": 8.0, "adamw_8bit": 2 + 2 * 4 / 256}
IN_FLOAT32 = ("group_norm", "layer_norm", "softmax", "mse_loss")  # of torch.nn.functional


class Setting(NamedTuple):
    """What the memory of training depends on."""

    size_px: int = 384
    micro_batch: int = 1
    precision: str = "fp32"
    checkpointing: bool = True
    optimizer: str = "adamw"
    train_decoder: bool = True


@contextlib.contextmanager
def as_on_gpu() -> Iterator[None]:
    """Run in float32 what autocast of a GPU runs so and that of a CPU does not."""

    def in_float32(function: Callable) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_autocast_enabled("cpu"):
                return function(*args, **kwargs)
            with torch.autocast("cpu", enabled=False):
                return function(*(value.float() if isinstance(value, Tensor) else value for value in args), **kwargs)

        return run

    plain = {name: getattr(functional, name) for name in IN_FLOAT32}
    for name, function in plain.items():
        setattr(functional, name, in_float32(function))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(functional, name, function)


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors that operations give, as long as something holds them; not of those given."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in given}  # operations give views of these too

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            weakref.finalize(storage, self._gone, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)


def computed(nets: Networks, setting: Setting) -> dict[str, int]:
    """Return bytes of weights, gradients, optimiser states, of what a micro-batch adds, and of all; no data are needed.

    The gradients of earlier micro-batches are there. No sample is augmented online: that pass comes after the others,
    and holds less.
    """
    checkpoint(nets, setting.checkpointing)
    trained = list(trained_parameters(nets).values())
    decoder = [p for module in decoder_modules(nets.unet).values() for p in module.parameters()]
    for parameter in decoder:
        parameter.requires_grad_(setting.train_decoder)
    trained = [parameter for parameter in trained if parameter.requires_grad]
    for parameter in (*trained, *decoder):
        parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
    count, side = setting.micro_batch, setting.size_px // 8
    latents = torch.empty(count, 4, side, side)
    hint = torch.empty(count, 3, setting.size_px, setting.size_px)
    context = torch.empty(count, 77, nets.unet.config.cross_attention_dim)
    times = torch.empty(count, dtype=torch.int64)
    batch = Batch(latents, times, torch.empty(count), latents, context, hint, hint)
    late = loss_weights(NUM_STEPS - 1, NUM_STEPS, times, PAPER)
    weights = late._replace(online=torch.zeros(0, dtype=torch.bool))  # none, known without data
    parameters = [p for network in (nets.unet, nets.controlnet) for p in network.parameters()]
    given = [*parameters, *(p.grad for p in parameters if p.grad is not None)]
    with as_on_gpu(), Held(given) as held, autocast(CPU, setting.precision):
        siamese_step(nets.controlnet, nets.unet, batch, weights, 1.0)
    parts = {
        "weights": sum(p.nbytes for p in parameters),
        "gradients": sum(p.nbytes for p in trained),
        "states": int(sum(p.numel() for p in trained) * STATES[setting.optimizer]),
        "activations": held.peak,
    }
    return {**parts, "peak": sum(parts.values())}


def of_preset(name: str, precision: str) -> Setting:
    """Return what the memory of a preset of presets/ depends on."""
    params = read_params(Path(f"presets/{name}.yaml"))
    training, size_px = params.training, params.datasets[params.comparison.datasets[0]].size_px
    micro = training.micro_batch or training.batch
    decoder = params.generators["siamese"].train_decoder
    return Setting(size_px, micro, precision, training.gradient_checkpointing, training.optimizer, decoder)


def main() -> None:
    """Print a line for every preset of a card in both precisions, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, nargs="+", default=[12, 24, 48], help="in GiB")
    parser.add_argument("--micro-batch", type=int, nargs="*", default=[], help="in place of the presets'")
    parser.add_argument("--precision", nargs="+", choices=["bf16", "fp32"], default=["bf16", "fp32"])
    options, rows = parser.parse_args(), []
    with FakeTensorMode():
        nets = build("full")
        for card, precision in itertools.product(options.cards, options.precision):
            setting = of_preset(f"kvasir-384-{card}gb", precision)
            for micro in options.micro_batch or [setting.micro_batch]:
                row = {**setting._replace(micro_batch=micro)._asdict(), "card_gib": card}
                row |= computed(nets, setting._replace(micro_batch=micro)) | {"limit_bytes": limit_bytes(card)}
                rows.append(row)
                fits = "fits" if row["peak"] <= row["limit_bytes"] else "does not fit"
                print(f"{card} GB, {precision}, micro-batch {micro}: {row['peak'] / GIB:.1f} GiB, {fits}", flush=True)  # noqa: T201
    print(json.dumps(rows))  # noqa: T201


if __name__ == "__main__":
    main()
