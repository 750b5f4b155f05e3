"""Weights of the cells that a small network learns beside the generator: `loss_reweight: law`.

After LAW (LAW & ORDER, arXiv 2603.04795), whose abstract says that a small adapter predicts, from features and mask, a
modulation of the diffusion loss for every cell, held by normalisation, clamping and regularisation. The equations here
are ours, and no number of that paper is reproduced. With l a cell's squared error, lbar its mean in the sample, p a
prior of mean 1 and a the network's output:

    u = p exp(reach tanh(a)),  w = u / mean(u)                                generator: mean of sg(w) l
    J = -+ mean(w sg(l / lbar)) + tau mean(w ln(w / p))                       network: minimises J, "max" has the minus

So the mean of w is 1, its largest value at most `law_ratio` times its smallest, and w = p before the first step. The
optimum is w = p exp(+-E[l / lbar | what the network sees] / tau) / Z within that ratio.
"""

import math
from typing import NamedTuple

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from data.pairs.seeds import item_seed
from siamese.base.devices import full_precision, moved, seeded
from siamese.config.loss_switches import LossSwitches
from siamese.method.batch import Batch
from siamese.method.reweight import lesion_cells

LAW_FIGURES = ("w_lesion", "w_band", "w_outside")
BAND = 3  # cells around the lesion
REDUCED, HIDDEN, GROUPS = 16, 32, 8
OBJECTIVES = {"max": 1.0, "min": -1.0}


class LawNetwork(nn.Module):
    """Maps the decoder's last features, mask and noise level to a (B, 1, h, w), 0 at the start.

    20,033 weights at the 320 channels of Stable Diffusion.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, REDUCED, 1, bias=False)
        self.layers = nn.Sequential(
            *(nn.Conv2d(REDUCED + 3, HIDDEN, 3, padding=1), nn.GroupNorm(GROUPS, HIDDEN), nn.SiLU()),
            *(nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1), nn.GroupNorm(GROUPS, HIDDEN), nn.SiLU()),
        )
        self.out = nn.Conv2d(HIDDEN, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, lesion: Tensor, log_snr: Tensor) -> Tensor:
        blurred = functional.avg_pool2d(lesion, 5, 1, 2, count_include_pad=False)  # its slope is the lesion's edge
        level = (log_snr / 10).view(-1, 1, 1, 1).expand_as(lesion)
        return self.out(self.layers(torch.cat([self.reduce(features), lesion, blurred, level], 1)))


def prior_of(row: LossSwitches, lesion: Tensor) -> Tensor:
    """Return p for lesions (B, 1, h, w), 0 or 1, in their shape: 1, or ArSDM's weights over their mean.

    Of the latter the ratio of lesion to background is cut to the square root of `law_ratio` on either side. Where a
    mask is empty or full, p is 1.
    """
    if row.law_prior == "uniform":
        return torch.ones_like(lesion)
    share, bound = lesion.mean((1, 2, 3), keepdim=True), math.sqrt(row.law_ratio)
    ratio = ((1 - share) / share.clamp_min(torch.finfo(share.dtype).tiny)).clamp(1 / bound, bound)
    ratio = torch.where((share > 0) & (share < 1), ratio, torch.ones_like(ratio))
    weights = lesion * ratio + (1 - lesion)
    return weights / weights.mean((1, 2, 3), keepdim=True)


def bounded(row: LossSwitches, output: Tensor, prior: Tensor) -> Tensor:
    """Return w for the network's output a and the prior p, (B, 1, h, w) each."""
    reach = math.log(row.law_ratio) / (2 if row.law_prior == "uniform" else 4)  # the prior may have taken half of it
    raised = prior * (reach * output.tanh()).exp()
    return raised / raised.mean((1, 2, 3), keepdim=True)


def objective(row: LossSwitches, weights: Tensor, prior: Tensor, errors: Tensor) -> Tensor:
    """Return J of each sample, (B,), for weights, prior and l (B, 1, h, w)."""
    relative = errors / errors.mean((1, 2, 3), keepdim=True).clamp_min(torch.finfo(errors.dtype).tiny)
    followed = OBJECTIVES[row.law_objective] * weights * relative
    return (row.law_tau * weights * (weights / prior).log() - followed).mean((1, 2, 3))


def region_means(weights: Tensor, lesion: Tensor) -> dict[str, Tensor]:
    """Return LAW_FIGURES: the mean weight of each sample, (B,), in the lesion, in a band around it, and elsewhere.

    1 where a sample has no such cell. Large weights outside show what the network chases: highlights, text, noise.
    """
    grown = functional.max_pool2d(lesion, 2 * BAND + 1, 1, BAND)
    regions = (lesion, grown - lesion, 1 - grown)
    counts = [region.sum((1, 2, 3)) for region in regions]
    sums = [(weights * region).sum((1, 2, 3)) for region in regions]
    means = [torch.where(n > 0, total / n.clamp_min(1), 1.0) for total, n in zip(sums, counts, strict=True)]
    return dict(zip(LAW_FIGURES, means, strict=True))


class Law(NamedTuple):
    """The network and the row that says how it learns."""

    network: LawNetwork
    row: LossSwitches

    def learn(
        self, features: Tensor, pred: Tensor, batch: Batch, share: float | Tensor, figures: dict[str, Tensor]
    ) -> Tensor:
        """Add the network's gradients of share * sum of J; return w (B, 1, h, w), without a graph.

        `figures` takes LAW_FIGURES, (B,) each.
        features (B, width, h, w) are the decoder's last, pred (B, C, h, w) is the noise predicted from them. Timesteps
        outside `law_t` have w = p: near 0 the loss is noise alone, at the end it is small and would be blown up.
        """
        dtype, (first, last) = self.network.out.weight.dtype, self.row.law_t
        lesion = lesion_cells(batch.mask_hint, batch.noise).to(dtype)
        (trusted,) = moved([(batch.timesteps >= first) & (batch.timesteps <= last)], lesion.device)
        variance = batch.sigmas.to(dtype).square()
        with full_precision(lesion.device):
            errors = (pred.detach().to(dtype) - batch.noise.to(dtype)).square().mean(1, keepdim=True)
            prior = prior_of(self.row, lesion)
            output = self.network(features.detach().to(dtype), lesion, ((1 - variance) / variance).log())
            weights = torch.where(trusted.view(-1, 1, 1, 1), bounded(self.row, output, prior), prior)
            (share * objective(self.row, weights, prior, errors).sum()).backward()
        weights = weights.detach()
        figures.update(region_means(weights, lesion))
        return weights


def build_law(row: LossSwitches, unet: UNet2DConditionModel, seed: int, device: torch.device | str) -> Law | None:
    """Return the network of a row on its device, or None where the row has none; its weights depend on the seed."""
    if row.loss_reweight != "law":
        return None
    network = seeded(lambda: LawNetwork(unet.config.block_out_channels[0]), item_seed(seed, "law"))
    return Law(network.to(device), row)
