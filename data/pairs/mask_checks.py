"""What the masks of a whole split tell and one mask cannot: nothing labelled, all labelled, black and white exchanged.

Single odd masks are legal, and `doctor` names them. A split of which most masks are odd was exported or named wrongly.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

BORDER = 0.75  # share of an image's border; of 440 masks of Kvasir-SEG and PH2 one covers more of it
FEW = 4  # in a split of fewer pairs, lesions that large may be chance: it is judged only where all are so small
EXAMPLES = 3


class MaskFacts(NamedTuple):
    """What was read of one mask: the shares of lesion in the frame and on its border, 0-1."""

    id: str
    foreground: float
    border: float


def mask_facts(labels: np.ndarray, pair_id: str) -> MaskFacts:
    """Return the facts of labels, uint8 (H, W) in {0..K}."""
    lesion = labels > 0
    border = np.concatenate([lesion[0], lesion[-1], lesion[:, 0], lesion[:, -1]])
    return MaskFacts(pair_id, float(lesion.mean()), float(border.mean()))


def _such_as(facts: Sequence[MaskFacts]) -> str:
    return ", ".join(one.id for one in facts[:EXAMPLES])


def _split_problems(split: str, facts: Sequence[MaskFacts]) -> Iterator[str]:
    lesions = [one for one in facts if one.foreground > 0]
    if not lesions:
        yield (
            f"split {split}: no mask of {len(facts)} has a lesion: were empty masks exported, does it lie in another "
            f"file, frame or channel? A split of few pairs may need another seed ({_such_as(facts)})"
        )
    elif min(one.foreground for one in facts) == 1:
        yield (
            f"split {split}: all {len(facts)} masks are nothing but lesion: has the background a value of its own? Put "
            f"it under `as_background`, or export the masks again ({_such_as(facts)})"
        )
    elif all(one.foreground == 1 for one in lesions):
        yield (
            f"split {split}: all {len(facts)} masks are either empty or all lesion: does the outline lie in another "
            f"file or channel? ({_such_as(facts)})"
        )


def _inverted(where: str, facts: Sequence[MaskFacts], inverted: bool | None) -> str:
    odd = [one for one in facts if one.border > BORDER]
    lesions = sum(one.foreground > 0 for one in facts)
    if len(odd) <= lesions / 2:
        return ""
    turn = "leave inverted_masks out" if inverted else "set inverted_masks: true, or as_background: [its value]"
    return (
        f"{where}: lesion covers most of the border in {len(odd)} of {len(facts)} masks, as if black and white were "
        f"exchanged. Where lesion and background are, {turn}; where lesions are that large, set inverted_masks: false "
        f"({_such_as(odd)})"
    )


def set_problems(facts: Mapping[str, Sequence[MaskFacts]], *, inverted: bool | None = None) -> list[str]:
    """Return what is wrong with the masks of a data set as a whole, in sentences; `facts` by split.

    `inverted` is the row's word on which of black and white is lesion; false lets lesions cover the border.
    """
    problems = [line for split, members in facts.items() for line in _split_problems(split, members)]
    large = {f"split {split}": members for split, members in facts.items() if len(members) >= FEW}
    judged = large or {"all splits": [one for members in facts.values() for one in members]}
    if problems or inverted is False:
        return problems
    for where, members in judged.items():
        problems += [line for line in (_inverted(where, members, inverted),) if line]
    return problems
