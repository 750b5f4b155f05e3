"""What one switch alone changes in our step and our sampler, against the way they are shipped: speed, memory, results.

With --compile: torch.compile of the networks' blocks, in a process of its own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.networks.measuring import peak_bytes, reset_peak, seconds_of, spread, take_turns
from benchmarks.networks.training import (
    draw_pairs,
    make_step,
    relative_difference,
    some_augmented,
)
from benchmarks.on_gpu.networks import PartNetworks
from benchmarks.on_gpu.part import Part, attempt, begin, free
from benchmarks.on_gpu.switches import ON_A_CPU, SWITCHES, compile_networks
from benchmarks.sampling.beside_diffusers import draw_masks, draw_noise, our_sampler
from siamese.config.sections import SamplingConfig

BUDGET_S = 3.0  # after which there is no further round
EVERY = 10  # gradients of every tenth tensor are compared
KINDS = ("step", "sampling")


class Work(NamedTuple):
    """Something of ours to do with a switch set."""

    count: int  # steps or images of one call
    call: Callable[[], object]  # what is timed
    result: Callable[[], Any]  # what is compared
    difference: Callable[[Any, Any], dict[str, float]]


class Ours(PartNetworks):
    """Our networks on the device, and what there is to do with them."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.batch = part.scale.first_batch
        self.work = {("step", precision): self._step(precision) for precision in self.scale.more_precisions}
        self.work |= {("sampling", name): self._sampling(name) for name in self.scale.more_precisions}
        self.shipped: dict[tuple[str, str], tuple[float, Any]] = {}

    def _step(self, precision: str) -> Work:
        steps = self.scale.steps
        pairs = draw_pairs(self.batch, self.scale.size_px, steps, self.device)
        step, _ = make_step(self.nets, "ours", pairs, precision)

        def take(number: int, timesteps: torch.Tensor) -> None:
            self.drop_gradients()
            step(number, timesteps)

        def gradients() -> dict[str, torch.Tensor]:
            take(*some_augmented(self.batch))
            return {name: self.named[name].grad.clone() for name in list(self.named)[::EVERY]}

        def difference(found: dict[str, torch.Tensor], shipped: dict[str, torch.Tensor]) -> dict[str, float]:
            return {"grad_rel_diff": relative_difference(shipped, found.__getitem__, shipped.__getitem__)}

        return Work(steps, self.round_of(take, pairs.timesteps), gradients, difference)

    def _sampling(self, precision: str) -> Work:
        context = torch.zeros(2, 77, self.nets.unet.config.cross_attention_dim, device=self.device)
        cfg = SamplingConfig(steps=self.scale.sampling_steps, guidance=9.0, batch=self.batch, seed=0)
        run = our_sampler(self.nets, context, cfg, self.device, precision, narrow_heads=False)
        masks, noise = (
            draw_masks(self.batch, self.scale.size_px),
            draw_noise(self.batch, self.scale.size_px, self.device),
        )

        def images() -> np.ndarray:
            return run(noise, masks)

        def difference(found: np.ndarray, shipped: np.ndarray) -> dict[str, float]:
            return {"max_abs_diff": float(np.abs(found - shipped).max())}

        return Work(self.batch, images, images, difference)

    def measure(self, what: str, precision: str) -> dict[str, Any]:
        """Return what one kind of work takes and gives as things are set now; the first time is how it is shipped."""
        self.nets.controlnet.requires_grad_(what == "step")
        free()
        work, results = self.work[what, precision], []
        first_s = seconds_of(lambda: results.append(work.result()), self.device) + seconds_of(work.call, self.device)
        reset_peak(self.device)
        rounds = take_turns({what: work.call}, self.scale.rounds, self.device, BUDGET_S)[what]
        seconds = spread([value / work.count for value in rounds])
        shipped_s, shipped = self.shipped.setdefault((what, precision), (seconds["median"], results[0]))
        return {
            "seconds": seconds,
            "speed_to_shipped": shipped_s / seconds["median"],
            "first_s": first_s,
            "peak_bytes": peak_bytes(self.device),
            "reserved_bytes": torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else None,
            **work.difference(results[0], shipped),
        }


def report(part: Part, ours: Ours, switch: str, precisions: tuple[str, ...]) -> None:
    """Report one switch, as it is set now, for step and sampling."""
    for precision in (one for one in precisions if one in part.scale.more_precisions):
        for what in KINDS:
            row = {"what": what, "switch": switch, "precision": precision, "batch": part.scale.first_batch}
            if part.left() < 0:
                part.add(**row, seconds=None, reason="no time was left")
                continue
            found, reason = attempt(lambda what=what, precision=precision: ours.measure(what, precision))
            part.add(**row, **(found or {"seconds": None, "reason": reason}))


def main() -> None:
    """Measure and report."""
    part = begin(__doc__, "--compile")
    ours = Ours(part)
    report(part, ours, "as shipped", part.scale.more_precisions)
    if part.args.compile:
        name = compile_networks(ours.nets, part.device)
        report(part, ours, f"torch.compile, {name}", ("bf16", "fp32"))
        return
    for name, (switch, precisions) in SWITCHES.items():
        if part.device.type != "cuda" and name not in ON_A_CPU:
            for what in KINDS:
                part.add(what=what, switch=name, seconds=None, reason="it sets what only a GPU has")
            continue
        try:
            with switch(ours.nets):
                report(part, ours, name, precisions)
        except Exception as error:  # noqa: BLE001 (a switch that this torch or card does not have is not the end)
            part.add(what="switch", switch=name, seconds=None, reason=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
