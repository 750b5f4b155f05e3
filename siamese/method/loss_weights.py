"""The weights of the loss terms. The only place that sees the step number (Eq. 13)."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from siamese.config.loss_switches import LossSwitches
from siamese.config.rows import ControlNetImageRow, SiameseRow
from siamese.method.law import Law
from siamese.method.layout import Layout


@dataclass
class Additions:
    """What switches add to the losses of one step; nothing, as it stands. None of it is the paper's."""

    figures: dict[str, Tensor] = field(default_factory=dict)  # takes what is logged beside the terms, (B,) each
    snr: Tensor | None = None  # weights of the samples in L_m and L_i, (B,); never in L_m', which lives at small t
    law: Law | None = None  # learns the weights of the cells in L_m, L_i and L_m'
    layout: Layout | None = None  # a loss beside L_m


class LossWeights(NamedTuple):
    """Weights of one optimiser step."""

    image: float  # w_i of Eq. 5
    mask: float  # w_m of Eq. 5
    consistency: float  # w_c of Eq. 9
    image_trains_decoder: bool  # whether L_i reaches the decoder; never in the official code
    online: Tensor  # w_a of Eq. 13, (B,) bool, beside the timesteps: which samples are augmented online
    lesion: Tensor | None = None  # W of `siamese.method.reweight`, (B, 1, h, w); not the paper's
    waiting: list[Any] | None = None  # takes the augmented samples, for one pass at the end of the optimiser step
    gate: str = "none"  # of L_c, see `siamese.method.gate`; the rest is not the paper's either
    agreement: Tensor | None = None  # weights of the cells in L_c, (B, 1, h, w)
    additions: Additions | None = None


def image_ramp(step: int, num_steps: int, row: SiameseRow | ControlNetImageRow) -> float:
    """Return the share of the image's weight in step `step` of `num_steps`: it rises linearly from 0, or is 1."""
    return step / num_steps if row.image_weight == "linear_ramp" else 1.0


def loss_weights(step: int, num_steps: int, timesteps: Tensor, row: SiameseRow) -> LossWeights:
    """Return the weights of optimiser step `step` of `num_steps`, counted from 0.

    w_i rises linearly from 0. Online augmentation is on for samples with t <= 200 once step > N / 3, both as in the
    official code: the paper leaves the second bound open (spec table 1.4, rows 1-4).
    """
    late = row.online_augmentation and step > num_steps * row.augment_after
    return LossWeights(
        image=row.image_share * image_ramp(step, num_steps, row),
        mask=row.w_m,
        consistency=row.w_c if row.noise_consistency else 0.0,
        image_trains_decoder=row.image_branch_trains_decoder,
        online=(timesteps <= row.augment_t_max) & late,
        gate=row.consistency_gate,
    )


def snr_weights(row: LossSwitches, sigmas: Tensor) -> Tensor | None:
    """Return min(SNR, gamma) / SNR of each sample, (B,), or None; SNR = abar / (1 - abar), sigmas sqrt(1 - abar).

    Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, ICCV 2023, for predicted noise.
    """
    if row.snr_gamma is None:
        return None
    variance = sigmas.square()
    return (row.snr_gamma * variance / (1 - variance)).clamp_max(1)
