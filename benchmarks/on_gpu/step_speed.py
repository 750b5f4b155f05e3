"""The official step beside ours: steps/s, peak memory, share of the card's arithmetic, difference of the gradients.

Both sides run on the same networks in one process. A round is some steps with AdamW, spread evenly over the run; all
but the first are late enough for online augmentation. Ours reads cached posteriors, and the cost of that cache is added
to it. First a middling batch, then the gradients, then the ladder of batches, each side until memory does not suffice.
"""

import contextlib

import torch

from benchmarks.networks.measuring import peak_bytes, reset_peak, spread, take_turns
from benchmarks.networks.training import (
    augmented,
    draw_pairs,
    make_step,
    relative_difference,
    some_augmented,
)
from benchmarks.on_gpu import flops
from benchmarks.on_gpu.networks import PartNetworks
from benchmarks.on_gpu.part import PRECISIONS, Part, attempt, begin
from benchmarks.on_gpu.switches import strict_float32

SIDES = ("ours", "official")
RUNG_S = 8.0  # after which a rung has no further round
GRADIENT_BATCH = 2


class Sides(PartNetworks):
    """The networks of both sides on the device."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.counts: dict[str, flops.Counts] = {}

    def count_flops(self) -> None:
        """Count one sample of each side."""
        pairs = draw_pairs(1, self.scale.size_px, 1, self.device)
        for side in SIDES:
            step, _ = make_step(self.nets, side, pairs, "fp32")
            self.counts[side] = flops.count(step)

    def speed(self, side: str, precision: str, batch: int) -> dict:
        """Return what one side does at one batch."""
        steps = self.scale.steps
        pairs = draw_pairs(batch, self.scale.size_px, steps, self.device)
        step, cache_s = make_step(self.nets, side, pairs, precision)
        optimizer = torch.optim.AdamW(self.named.values(), lr=1e-5, fused=True)

        def take(number: int, timesteps: torch.Tensor) -> None:
            optimizer.zero_grad(set_to_none=True)
            step(number, timesteps)
            optimizer.step()

        take(*some_augmented(batch))  # warms up
        reset_peak(self.device)
        rounds = take_turns({side: self.round_of(take, pairs.timesteps)}, self.scale.rounds, self.device, RUNG_S)[side]
        seconds = spread([value / steps + cache_s for value in rounds])
        operations = flops.of_a_step(self.counts[side], side, pairs.timesteps)
        return {
            "seconds_a_step": seconds,
            "steps_a_second": 1 / seconds["median"],
            "samples_a_second": batch / seconds["median"],
            "cache_seconds_a_step": cache_s,
            "peak_bytes": peak_bytes(self.device),
            "augmented": augmented(pairs.timesteps),
            "flops_a_step": operations,
            **flops.utilisation(operations, seconds["median"], precision, self.device),
        }

    def late_step(self, side: str, precision: str) -> None:
        """Fill .grad with the gradients of a late step that has some samples augmented."""
        self.clear()
        pairs = draw_pairs(GRADIENT_BATCH, self.scale.size_px, 1, self.device)
        step, _ = make_step(self.nets, side, pairs, precision)
        step(*some_augmented(GRADIENT_BATCH))

    def gradients(self) -> dict[str, torch.Tensor]:
        """Return the gradients that are there, on the CPU."""
        return {name: parameter.grad.cpu() for name, parameter in self.named.items()}


def report_gradients(part: Part, sides: Sides) -> None:
    """Report |ours - official| / |official| in each precision, and how far the precision itself takes the official."""
    exact: dict[str, torch.Tensor] = {}

    def differences(precision: str) -> dict[str, float]:
        sides.late_step("ours", precision)
        ours = sides.gradients()
        sides.late_step("official", precision)
        exact.update(exact or sides.gradients())

        def official_of(name: str) -> torch.Tensor:
            return sides.named[name].grad

        return {
            "grad_rel_diff": relative_difference(ours, lambda name: ours[name].to(part.device), official_of),
            "official_to_exact": relative_difference(exact, official_of, lambda name: exact[name].to(part.device)),
        }

    for name, precision, context in (
        ("fp32 without TF32", "fp32", strict_float32()),
        ("fp32", "fp32", contextlib.nullcontext()),
        ("bf16", "bf16", contextlib.nullcontext()),
    ):
        row = {"what": "gradients", "precision": name, "batch": GRADIENT_BATCH}
        with context:
            values, reason = attempt(lambda precision=precision: differences(precision))
        part.add(**row, **(values or {"grad_rel_diff": None, "reason": reason}))


def main() -> None:
    """Measure and report."""
    part = begin(__doc__)
    sides = Sides(part)
    sides.count_flops()
    for side, (plain, more) in sides.counts.items():
        part.add(what="flops", side=side, flops_a_sample=plain, flops_a_sample_augmented=more)
    last: dict[tuple[str, str], tuple[int, float]] = {}  # batch, seconds of a rung
    full: set[tuple[str, str]] = set()

    def report(side: str, precision: str, batch: int) -> None:
        row = {"what": "speed", "side": side, "precision": precision, "batch": batch}
        known_batch, known_s = last.get((side, precision), (batch, 0.0))
        needed = known_s * max(1.0, batch / known_batch)
        if reason := part.too_late(needed):
            part.add(**row, steps_a_second=None, reason=reason)
            return
        sides.clear()
        begun = part.left()
        found, reason = attempt(lambda: sides.speed(side, precision, batch))
        if found is None:
            full.add((side, precision))
            part.add(**row, steps_a_second=None, reason=reason)
            return
        last[side, precision] = batch, begun - part.left()
        part.add(**row, **found)

    rungs = [(part.scale.first_batch, precision, side) for precision in PRECISIONS for side in SIDES]
    for batch, precision, side in rungs:
        report(side, precision, batch)
    report_gradients(part, sides)
    for batch in part.scale.batches:
        for precision in part.scale.more_precisions:
            for side in SIDES:
                if (side, precision) not in full or batch < part.scale.first_batch:
                    report(side, precision, batch)


if __name__ == "__main__":
    main()
