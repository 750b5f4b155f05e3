"""The networks of one stage of DFMGAN, and what its steps draw and render by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from data.pairs.seeds import item_seed
from siamese.config.dfmgan import DfmganRow
from siamese.dfmgan.augment import augmented
from siamese.dfmgan.draws import Pool, changes, pixel_noise, style_vectors
from siamese.dfmgan.generator import Defect, Normal, noise_sides, synthesise
from siamese.dfmgan.losses import squashed
from siamese.dfmgan.state import GanState


@dataclass(frozen=True)
class Stage:
    """The networks of one stage and what its phases read."""

    row: DfmganRow
    side: int
    seed: int
    pool: Pool
    normal: Normal
    state: GanState
    defect: Defect | None = None  # stage 2: the normal part is frozen
    r1_gamma: float = 1.0

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.normal.synthesis.constant.device

    @property
    def path_of(self) -> str:
        """The code whose path length is regularised, or off."""
        return self.row.path_length if self.defect or self.row.path_length == "off" else "backbone"

    def codes(self, rngs: Sequence[torch.Generator]) -> tuple[Tensor, Tensor | None]:
        """Return style vectors of the backbone and, in stage 2, of the residuals, for a generator each sample."""
        draw = partial(style_vectors, rngs=rngs, code=self.row.code, mixing=self.row.style_mixing, device=self.device)
        codes = draw(self.normal.mapping, count=self.normal.synthesis.styles)
        return codes, draw(self.defect.mapping, count=self.defect.residuals.styles) if self.defect else None

    def render(self, codes: Tensor, defect_codes: Tensor | None, *what: str | int) -> tuple[Tensor, Tensor | None]:
        """Return images and raw masks for style vectors, with noise that `what` names."""
        residuals = self.defect.residuals if self.defect else None
        sides = noise_sides(self.normal.synthesis, residuals)
        noises = pixel_noise(sides, len(codes), item_seed(self.seed, "pixels", *what), self.device)
        return synthesise(self.normal.synthesis, codes, noises, residuals, defect_codes, self.row.gate)

    def pixels(self, rngs: Sequence[torch.Generator], *what: str | int) -> Tensor:
        """Return made images, and tanh(10 M) as a fourth channel in stage 2, without gradients."""
        with torch.no_grad():
            images, masks = self.render(*self.codes(rngs), *what)
            return images if masks is None else torch.cat([images, squashed(masks)], 1)

    def augmented(self, pixels: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
        """Return pixels as the discriminator of images sees them."""
        return augmented(pixels, changes(self.row, rngs, self.side, self.state.ada_p))

    def matched(self, pixels: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
        """Return images and masks as the discriminator of both sees them."""
        return self.augmented(pixels, rngs) if self.row.match_augment else pixels
