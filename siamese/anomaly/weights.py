"""Adaptive re-weighting: how much more the words are attended to in cells that still look like the normal image."""

from torch import Tensor

from siamese.config.anomaly import AnomalyRow


def cell_weights(latents: Tensor, normal: Tensor, cells: Tensor, kind: str, clip: tuple[float, float] | None) -> Tensor:
    """Return weights float32 (B, 1, h, w) of latents and normal ones (B, C, h, w) inside cells (B, 1, h, w).

    With d the mean squared difference over channels, ratio: |M| (1/d) / sum(1/d); softmax: |M| softmax(1/d). Both sum
    to |M|, the number of cells, before they are clipped. Where d is 0, and outside the mask, the weight is 1.
    """
    cells = cells.float()
    distance = (cells * (latents - normal).float()).square().mean(1, keepdim=True)
    differs = distance > 0
    closeness = (1 / distance.clamp_min(1e-30)).where(differs, distance.new_zeros(()))
    flat = closeness.flatten(1)
    if kind == "softmax":
        shares = flat.masked_fill(flat == 0, float("-inf")).softmax(1).nan_to_num(0)  # no cell differs: no weights
    else:
        shares = flat / flat.amax(1, keepdim=True).clamp_min(1)  # 1/d may be 1e12, and its sum is taken in float32
        shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-30)
    weights = (cells.flatten(1).sum(1, keepdim=True) * shares).view_as(distance)
    weights = weights.where(weights != 0, weights.new_ones(()))
    return weights.clamp(*clip) if clip else weights


def row_weights(row: AnomalyRow, latents: Tensor, clean: Tensor | None, normal: Tensor, cells: Tensor) -> Tensor | None:
    """Return the weights that a row asks for, or None.

    `clean` is what the step before took for the clean latents, None in the first one, which then has no weights.
    """
    compared = latents if row.distance == "noisy" else clean
    if not row.adaptive or compared is None:
        return None
    return cell_weights(compared, normal, cells, row.weight_map, row.weight_clip)
