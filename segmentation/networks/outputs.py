"""What every network returns."""

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Logits of the lesion, unbounded, and what a network gives beside them.

    maps: each float (B, C, H, W) of the size that was asked for; a loss is computed on every one. C is 1, or 2 for
        background and lesion.
    embedding: float (B, E, h, w) at stride 4, of length 1 over E; CTNet's, for its contrastive loss.
    """

    maps: tuple[Tensor, ...]
    embedding: Tensor | None = None


def lesion_logit(outputs: Outputs) -> Tensor:
    """Return the one map (B, 1, H, W) that inference reads: lesion is where it is above 0.

    Maps are added up, as Polyp-PVT does with its two; a map of background and lesion counts as their difference, whose
    sigmoid is the softmax of the lesion (spec/segmenters.md, 1.4, 2.4, 5.1).
    """
    single = [logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1] for logits in outputs.maps]
    return sum(single[1:], start=single[0])
