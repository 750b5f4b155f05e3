"""Our sampler beside diffusers' StableDiffusionControlNetPipeline: images/s and the largest difference of a pixel.

Both get the same weights, start noise, masks, steps and guidance. In bf16 each does as it is used: the pipeline has its
weights cast, ours keeps them in float32 and computes under autocast. They take turns.
"""

import numpy as np
import torch

from benchmarks.networks.measuring import peak_bytes, reset_peak, seconds_of, spread, take_turns
from benchmarks.networks.sd15 import build
from benchmarks.on_gpu.part import PRECISIONS, Part, attempt, begin, free
from benchmarks.sampling.beside_diffusers import (
    PROMPT,
    build_pipeline,
    draw_masks,
    draw_noise,
    our_sampler,
    their_sampler,
)
from siamese.config.sections import SamplingConfig

GUIDANCE = 9.0
RUNG_S = 12.0  # after which there is no further round
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def measure(part: Part, precision: str, known_s: dict[str, float]) -> None:
    """Report every batch in one precision."""
    scale, device = part.scale, part.device
    pipeline = build_pipeline(build(scale.width, device=device), device, DTYPES[precision])
    context = torch.cat(pipeline.encode_prompt(PROMPT, device, 1, True)[:2]).float()
    cfg = SamplingConfig(steps=scale.sampling_steps, guidance=GUIDANCE, batch=1, seed=0)
    samplers = {
        "ours": our_sampler(build(scale.width, device=device), context, cfg, device, precision, narrow_heads=False),
        "pipeline": their_sampler(pipeline, cfg),
    }

    for batch in scale.sampling_batches:
        row = {"what": "sampling", "precision": precision, "batch": batch, "steps": scale.sampling_steps}
        needed = known_s.get(precision, 0.0) * batch
        if reason := part.too_late(needed):
            part.add(**row, images_a_second=None, reason=reason)
            continue
        free()
        found, reason = attempt(lambda batch=batch: both(part, samplers, batch))
        if found is None:
            part.add(**row, images_a_second=None, reason=reason)
            continue
        known_s[precision] = sum(found.pop("spent_s")) / batch
        part.add(**row, **found)


def both(part: Part, samplers: dict, batch: int) -> dict:
    """Return what both samplers do at one batch."""
    masks, noise = draw_masks(batch, part.scale.size_px), draw_noise(batch, part.scale.size_px, part.device)
    images: dict[str, np.ndarray] = {}
    peaks: dict[str, int] = {}

    def first(name: str) -> None:
        images[name] = samplers[name](noise, masks)

    warm = []
    for name in samplers:
        reset_peak(part.device)
        warm.append(seconds_of(lambda name=name: first(name), part.device))
        peaks[name] = peak_bytes(part.device)
    calls = {name: (lambda run=run: run(noise, masks)) for name, run in samplers.items()}
    turns = take_turns(calls, part.scale.rounds, part.device, min(RUNG_S, part.left() / 2))
    seconds = {name: spread([value / batch for value in values]) for name, values in turns.items()}
    difference = np.abs(images["ours"] - images["pipeline"])
    return {
        "images_a_second": {name: 1 / found["median"] for name, found in seconds.items()},
        "seconds_an_image": seconds,
        "time_ratio": seconds["pipeline"]["median"] / seconds["ours"]["median"],
        "peak_bytes_with_both_loaded": peaks,
        "max_abs_diff": float(difference.max()),
        "mean_abs_diff": float(difference.mean()),
        "spent_s": [*warm, *(values[0] for values in turns.values())],
    }


def main() -> None:
    """Measure and report."""
    part = begin(__doc__)
    known_s: dict[str, float] = {}
    for precision in PRECISIONS:
        measure(part, precision, known_s)
        free()


if __name__ == "__main__":
    main()
