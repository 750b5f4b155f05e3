"""Validation: the pairs that are held out, and what is measured on them."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data.pairs.errors import UserError
from data.pairs.manifest import Pair, PairSet
from data.pairs.seeds import item_seed
from segmentation.config.architectures import ArchitectureRow
from segmentation.inference.inputs import Decoded, as_targets, normalize
from segmentation.networks.blocks import Network
from segmentation.training.losses import Loss


def hold_out(real: PairSet, added: PairSet, share: float, seed: int) -> tuple[PairSet, PairSet, PairSet]:
    """Return real pairs to train on, real pairs to validate on, and the added pairs that come from none of the latter.

    Groups stay together, and are held out in an order that the seed draws until the share is reached.

    Raises: UserError when a group would take all pairs.
    """

    def group(pair: Pair) -> str:
        return f"group {pair.group}" if pair.group else f"pair {pair.id}"

    sizes, held = Counter(map(group, real.pairs)), set[str]()
    for name in sorted(sizes, key=lambda name: item_seed("val", seed, name)):
        if sum(sizes[other] for other in held) >= share * len(real):
            break
        held.add(name)
    train = tuple(pair for pair in real.pairs if group(pair) not in held)
    val = tuple(pair for pair in real.pairs if group(pair) in held)
    if not train:
        raise UserError(f"val_share: groups leave no pair of {real.folder} to train on: lower it, or add a val split")
    away = {pair.id for pair in val}
    kept = tuple(pair for pair in added.pairs if not {pair.parent, pair.donor} & away)
    return replace(real, pairs=train), replace(real, pairs=val), replace(added, pairs=kept)


def soft_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the soft Dice of each image (B,), of maps brought to 0-1 by their own extremes, smoothed by 1.

    What Polyp-PVT's code chooses its weights by (spec/segmenters.md 2.3).
    """
    maps = torch.sigmoid(logits)
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    maps = (maps - low) / (high - low + 1e-8)
    overlap = (maps * masks).sum((1, 2, 3))
    return (2 * overlap + 1) / (maps.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)


@torch.inference_mode()
def look(
    network: Network, sets: Sequence[Decoded], row: ArchitectureRow, loss_of: Loss, device: torch.device
) -> tuple[float, float]:
    """Return the mean soft Dice over all images, and the mean loss over batches, at the network's input size.

    The stream of random numbers is left alone, so that looking does not change the training.
    """
    scores, losses = [], []
    network.eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for decoded in sets:
            for start in range(0, len(decoded.images), row.batch):
                part = slice(start, start + row.batch)
                outputs = network(normalize(np.array(decoded.images[part]), row, device))
                masks = as_targets(np.array(decoded.masks[part]), device)
                losses.append(loss_of(outputs, masks).item())
                scores += soft_dice(outputs.lesion_logit().float(), masks).tolist()
    network.train()
    return float(np.mean(scores)), float(np.mean(losses))


def validation_sets(
    row: ArchitectureRow, real: PairSet, added: PairSet, val: PairSet | None, tests: Sequence[PairSet], seed: int
) -> tuple[PairSet, PairSet, list[PairSet]]:
    """Return the real and added pairs to train on, and the sets to look at after each epoch, none when none are needed.

    Raises: UserError when the row needs validation pairs and there are none.
    """
    if row.keep == "best_test":
        if not tests:
            raise UserError("keep: best_test needs test sets, and none were given: use best_val or last")
        text = "the weights are chosen on the test sets (keep: best_test): their scores say too much"
        sys.stderr.write(f"warning: {text}\n")
        return real, added, list(tests)
    if row.keep == "last" and not row.acts_on_validation:
        return real, added, []
    if val is not None and len(val):
        return real, added, [val]
    if row.val_share is None:
        what = "keep: best_val, early_stop and schedule: plateau need validation pairs, and there is no val split"
        raise UserError(f"{real.folder}: {what}", ["add val to the splits of the data set, or set val_share: 0.1"])
    train, held, kept = hold_out(real, added, row.val_share, seed)
    return train, kept, [held]
