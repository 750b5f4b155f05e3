"""What switches add to the losses of one step; none of it is the paper's."""

from dataclasses import dataclass, field

from torch import Tensor

from siamese.method.law import Law
from siamese.method.layout import Layout


@dataclass
class Additions:
    """Nothing, as it stands."""

    figures: dict[str, Tensor] = field(default_factory=dict)  # takes what is logged beside the terms, (B,) each
    snr: Tensor | None = None  # weights of the samples in L_m and L_i, (B,); never in L_m', which lives at small t
    law: Law | None = None  # learns the weights of the cells in L_m, L_i and L_m'
    layout: Layout | None = None  # a loss beside L_m
