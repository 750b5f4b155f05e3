"""How a hint reaches the UNet, in one form for all latent methods: ControlNets' residuals, or an adapter's features."""

from typing import NamedTuple

import torch
from diffusers import ControlNetModel
from torch import Tensor

from siamese.method.control import ControlResiduals, control_residuals


class Control(NamedTuple):
    """One pass of a ControlNet, and the weight of its residuals in the sum."""

    net: ControlNetModel
    features: Tensor  # (B, width, h, w): its encoded hint, which does not depend on the timestep
    weight: float


def encoded_hint(net: ControlNetModel, hints: Tensor, weight: float = 1.0) -> Control:
    """Return the pass of a ControlNet on hints (B, 3, H, W) in [0, 1]."""
    return Control(net, net.controlnet_cond_embedding(hints), weight)


class Condition(NamedTuple):
    """What a method makes of the hints of a batch, once for all denoising steps."""

    control: tuple[Control, ...] = ()
    adapter: tuple[Tensor, ...] = ()  # one map for each level of the UNet, see `siamese.method.control.unet_encode`
    adapter_share: float = 1.0  # of the denoising steps, from the first on, in which the adapter acts

    def twice(self) -> "Condition":
        """Return the condition of a batch that stands twice, for guidance: both halves keep every hint."""
        control = tuple(part._replace(features=torch.cat([part.features, part.features])) for part in self.control)
        return self._replace(control=control, adapter=tuple(torch.cat([level, level]) for level in self.adapter))


def _scaled(residuals: ControlResiduals, weight: float) -> ControlResiduals:
    if weight == 1:
        return residuals
    return ControlResiduals(tuple(weight * level for level in residuals.down), weight * residuals.mid)


def summed_residuals(
    condition: Condition, noisy_latents: Tensor, timesteps: Tensor, context: Tensor
) -> ControlResiduals | None:
    """Return the weighted sum of the residuals of all ControlNet passes, or None without any; gradients go into each.

    Shapes as in `siamese.method.control.control_residuals`.
    """
    total = None
    for net, features, weight in condition.control:
        part = _scaled(control_residuals(net, noisy_latents, timesteps, context, features), weight)
        if total is None:
            total = part
        else:
            down = tuple(a + b for a, b in zip(total.down, part.down, strict=True))
            total = ControlResiduals(down, total.mid + part.mid)
    return total
