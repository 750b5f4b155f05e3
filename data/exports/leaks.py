"""Masks that no parent vouches for, looked at by their pixels."""

from collections.abc import Iterator, Mapping, Sequence

from data.mask_files.checks import mask_facts
from data.masks.given import Given, given_mask, side_of
from data.masks.held_out import held_out_masks
from data.pairs.errors import UserError
from data.pairs.manifest import PairSet
from data.pairs.prepared import TRAIN
from data.pairs.resize import framed_mask


def _without_parent(pairs: PairSet, side: int) -> Iterator[Given]:
    for pair in pairs.pairs:
        if not pair.parent:
            labels, _ = framed_mask(pairs.labels(pair), side, letterbox=False)
            yield given_mask(pair, f"{pairs.folder}/{pair.id}", labels, mask_facts(labels, pair.id))


def refuse_leaks(real: Mapping[str, PairSet], added: Sequence[PairSet]) -> None:
    """Raise UserError naming every added pair whose mask is, or nearly is, that of a pair of another split than train.

    A parent says where a mask comes from; only masks without one are compared.
    """
    held_out = {split: pairs for split, pairs in real.items() if split != TRAIN}
    side = side_of(real[TRAIN])
    problems = [
        line
        for pairs in (added if held_out else ())
        for line in held_out_masks(list(_without_parent(pairs, side)), held_out, "leave the pair out", ())
    ]
    if problems:
        raise UserError(f"{len(problems)} added pairs have masks of held-out pairs, so nothing is exported", problems)
