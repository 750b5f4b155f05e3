"""Peak memory of our training and sampling for each setting and batch, from which the table of cards is made.

Training is what a stage does: the optimiser and the average of params.yaml, one micro-batch of cached latents, the
second step (optimiser states are there then). VAE and text encoder are not on the device. The ladder of a setting ends
where it is past the largest card of the table.
"""

from typing import Any, NamedTuple

import torch
from diffusers.training_utils import EMAModel

from benchmarks.networks.measuring import peak_bytes, reset_peak
from benchmarks.networks.sd15 import Networks, build
from benchmarks.networks.training import draw_pairs, ours, place_networks, some_augmented, trained_parameters
from benchmarks.on_gpu.cards import SIZES_GIB, limit_bytes
from benchmarks.on_gpu.part import Part, Scale, attempt, begin, free
from benchmarks.sampling.beside_diffusers import draw_masks, draw_noise, our_sampler
from data.pairs.errors import UserError
from siamese.base.training_state import OPTIMIZERS
from siamese.config.sections import SamplingConfig, TrainingConfig

EMA = 0.999


class Setting(NamedTuple):
    """What training's memory depends on beside the batch."""

    size_px: int
    precision: str
    checkpointing: bool = False
    optimizer: str = "adamw"
    ema: bool = False


def settings(scale: Scale) -> list[Setting]:
    """Return the settings of training, those of most interest first."""
    pairs = [(precision, checkpointing) for checkpointing in (False, True) for precision in scale.more_precisions]
    found = [Setting(scale.size_px, *pair) for pair in pairs]
    found += [Setting(scale.size_px, "bf16", True, "adamw_8bit"), Setting(scale.size_px, "bf16", True, ema=True)]
    return found + [Setting(size, *pair) for size in scale.other_sizes_px for pair in pairs]


def checkpoint(nets: Networks, on: bool) -> None:
    """Switch gradient checkpointing of both networks on or off."""
    for network in (nets.unet, nets.controlnet):
        (network.enable_gradient_checkpointing if on else network.disable_gradient_checkpointing)()


def training_peak(part: Part, nets: Networks, setting: Setting, batch: int) -> int:
    """Return the peak of the second step, in bytes."""
    device, side = part.device, setting.size_px // 8
    parameters = list(trained_parameters(nets).values())
    for parameter in parameters:
        parameter.grad = None
    free()
    checkpoint(nets, setting.checkpointing)
    cfg = TrainingConfig(
        steps=2, batch=batch, lr=1e-5, weight_decay=1e-2, schedule="constant", optimizer=setting.optimizer,
        prompt_dropout=0.0, checkpoint_steps=2, seed=0,
    )  # fmt: skip
    optimizer = OPTIMIZERS[cfg.optimizer](parameters, lr=cfg.lr, weight_decay=cfg.weight_decay)
    average = EMAModel(parameters, decay=EMA) if setting.ema else None
    cached = {name: torch.rand((batch, 4, side, side), device=device) for name in ("mean", "std")}
    cached["context"] = torch.rand((batch, 77, nets.unet.config.cross_attention_dim), device=device)
    step = ours(nets, draw_pairs(batch, setting.size_px, 1, device), cached, setting.precision)
    for _ in range(2):
        reset_peak(device)
        optimizer.zero_grad(set_to_none=True)
        step(*some_augmented(batch))
        optimizer.step()
        if average:
            average.step(parameters)
    return peak_bytes(device)


def sampling_peak(part: Part, nets: Networks, size_px: int, precision: str, batch: int) -> int:
    """Return the peak of sampling one batch with guidance, in bytes; two steps take what fifty take."""
    free()
    context = torch.zeros(2, 77, nets.unet.config.cross_attention_dim, device=part.device)
    cfg = SamplingConfig(steps=2, guidance=9.0, batch=batch, seed=0)
    run = our_sampler(nets, context, cfg, part.device, precision, narrow_heads=False)
    reset_peak(part.device)
    run(draw_noise(batch, size_px, part.device), draw_masks(batch, size_px))
    return peak_bytes(part.device)


class Ladder:
    """Reports the peaks of rising batches until they are past every card."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def report(self, row: dict[str, Any], peak_of: Any) -> None:
        """Report row with batch and peak_bytes, null with a reason where it could not be measured."""
        for batch in self.part.scale.memory_batches:
            if self.part.left() < 0:
                self.part.add(**row, batch=batch, peak_bytes=None, reason="no time was left")
                return
            try:
                peak, reason = attempt(lambda batch=batch: peak_of(batch))
            except UserError as error:
                peak, reason = None, str(error).splitlines()[0]
            if peak is None:
                self.part.add(**row, batch=batch, peak_bytes=None, reason=reason)
                return
            self.part.add(**row, batch=batch, peak_bytes=peak)
            if peak > limit_bytes(SIZES_GIB[-1]):
                return


def main() -> None:
    """Measure and report."""
    part = begin(__doc__)
    nets = build(part.scale.width, device=part.device)
    nets.vae.to("cpu")
    nets.text.to("cpu")
    place_networks(nets, part.device, narrow_heads=False)
    ladder, sizes = Ladder(part), (part.scale.size_px, *part.scale.other_sizes_px)
    every = settings(part.scale)

    def train(setting: Setting) -> None:
        ladder.report({"what": "train", **setting._asdict()}, lambda batch: training_peak(part, nets, setting, batch))

    def sample(size_px: int) -> None:
        for parameter in trained_parameters(nets).values():
            parameter.grad = None
        checkpoint(nets, False)
        for precision in part.scale.more_precisions:
            row = {"what": "sample", "size_px": size_px, "precision": precision}
            ladder.report(row, lambda batch, p=precision: sampling_peak(part, nets, size_px, p, batch))
        nets.vae.to("cpu")
        nets.controlnet.requires_grad_(True)

    for size_px in sizes:
        for setting in (one for one in every if one.size_px == size_px):
            train(setting)
        sample(size_px)


if __name__ == "__main__":
    main()
