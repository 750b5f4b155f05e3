"""What the masks of a whole split tell and one mask cannot: nothing labelled, all labelled, black and white exchanged,
outlines in place of areas.

Single odd masks are legal, and `doctor` names them. A split of which most masks are odd was exported or named wrongly.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

BORDER = 0.75  # share of an image's border; of 440 masks of Kvasir-SEG and PH2 one covers more of it
FEW = 4  # in a split of fewer pairs, lesions that large may be chance: it is judged only where all are so small
OUTLINE = 2.5  # times the lesion's area with its holes filled; of 380 masks of Kvasir-SEG and PH2 at most 1.0001
ONE_HOLE = 0.8  # share of all holes of an outline that the largest has; networks of vessels have many
EXAMPLES = 3


class MaskFacts(NamedTuple):
    """What was read of one mask: the shares of lesion in the frame, 0-1, on its border, and with its holes filled."""

    id: str
    foreground: float
    border: float
    filled: float
    digest: int  # the same for two masks of the same pixels

    @property
    def is_outline(self) -> bool:
        """Whether lesion is a line about background."""
        return self.filled > OUTLINE * self.foreground


def mask_facts(labels: np.ndarray, pair_id: str) -> MaskFacts:
    """Return the facts of labels, uint8 (H, W) in {0..K}."""
    lesion = labels > 0
    border = np.concatenate([lesion[0], lesion[-1], lesion[:, 0], lesion[:, -1]])
    share = float(lesion.mean())
    digest = zlib.crc32(labels.tobytes(), labels.shape[1])
    return MaskFacts(pair_id, share, float(border.mean()), share + _enclosed(lesion), digest)


def _enclosed(lesion: np.ndarray) -> float:
    """Return the share of the frame that lies in holes of the lesion, but of parts of it with many such."""
    import cv2

    contours, tree = cv2.findContours(lesion.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes: dict[int, list[float]] = {}
    for contour, (_, _, _, parent) in zip(contours, tree[0] if tree is not None else (), strict=True):
        if parent >= 0:
            holes.setdefault(int(parent), []).append(cv2.contourArea(contour))
    alone = [sum(areas) for areas in holes.values() if max(areas) >= ONE_HOLE * sum(areas)]
    return float(sum(alone)) / lesion.size


def _such_as(facts: Sequence[MaskFacts]) -> str:
    return ", ".join(mask.id for mask in facts[:EXAMPLES])


def _split_problems(split: str, facts: Sequence[MaskFacts]) -> Iterator[str]:
    lesions = [mask for mask in facts if mask.foreground > 0]
    if not lesions:
        yield (
            f"split {split}: no mask of {len(facts)} has a lesion: were empty masks exported, does it lie in another "
            f"file, frame or channel? A split of few pairs may need another seed ({_such_as(facts)})"
        )
    elif min(mask.foreground for mask in facts) == 1:
        yield (
            f"split {split}: all {len(facts)} masks are nothing but lesion: has the background a value of its own? Put "
            f"it under `as_background`, or export the masks again ({_such_as(facts)})"
        )
    elif all(mask.foreground == 1 for mask in lesions):
        yield (
            f"split {split}: all {len(facts)} masks are either empty or all lesion: does the outline lie in another "
            f"file or channel? ({_such_as(facts)})"
        )


def _mostly_odd(where: str, facts: Sequence[MaskFacts], inverted: bool | None) -> Iterator[str]:
    """Yield a sentence where more than half of the masks with a lesion are outlines, or else are exchanged."""
    most = sum(mask.foreground > 0 for mask in facts) / 2
    outlines = [mask for mask in facts if mask.is_outline]
    exchanged = [mask for mask in facts if mask.border > BORDER]
    if len(outlines) > most:
        yield (
            f"{where}: lesion is a line about background in {len(outlines)} of {len(facts)} masks, as if outlines or "
            "a frame were drawn: fill the outlines, remove the frame; where lesions are rings indeed, set "
            f"inverted_masks: false ({_such_as(outlines)})"
        )
    elif len(exchanged) > most:
        turn = "leave inverted_masks out" if inverted else "set inverted_masks: true, or as_background: [its value]"
        yield (
            f"{where}: lesion covers most of the border in {len(exchanged)} of {len(facts)} masks, as if black and "
            f"white were exchanged. Where lesion and background are, {turn}; where lesions are that large, set "
            f"inverted_masks: false ({_such_as(exchanged)})"
        )


def one_for_all(facts: Sequence[MaskFacts]) -> str:
    """Return a sentence where all masks with a lesion are the same, or nothing."""
    lesions = [mask for mask in facts if mask.foreground > 0]
    if len(lesions) < FEW or len({mask.digest for mask in lesions}) > 1:
        return ""
    return (
        f"all {len(lesions)} masks with a lesion are the same to the pixel: was one written for all images? Each image "
        f"needs the mask that was drawn on it ({_such_as(lesions)})"
    )


def set_problems(facts: Mapping[str, Sequence[MaskFacts]], *, inverted: bool | None = None) -> list[str]:
    """Return what is wrong with the masks of a data set as a whole, in sentences; `facts` by split.

    `inverted` is the row's word on which of black and white is lesion; false lets it cover the border, or be rings.
    """
    problems = [line for split, members in facts.items() for line in _split_problems(split, members)]
    large = {f"split {split}": members for split, members in facts.items() if len(members) >= FEW}
    judged = large or {"all splits": [mask for members in facts.values() for mask in members]}
    if problems or inverted is False:
        return problems
    return [line for where, members in judged.items() for line in _mostly_odd(where, members, inverted)]


def lost_hint(lost: Sequence[MaskFacts], size_px: int) -> str:
    """Return a sentence on masks whose lesion is gone at `size_px`, or nothing."""
    if not lost:
        return ""
    return (
        f"the lesions of {len(lost)} masks fall between the pixels of size_px {size_px}, where these masks are empty: "
        f"take a larger size_px, or leave these pairs out ({_such_as(lost)})"
    )


def set_hints(facts: Sequence[MaskFacts]) -> list[str]:
    """Return what is odd and legal, in sentences: worth a look."""
    exchanged = [mask for mask in facts if mask.border > BORDER]
    outlines = [mask for mask in facts if mask.is_outline]
    hints = [
        f"{len(members)} of {len(facts)} masks {what}: look at them ({_such_as(members)})"
        for members, what in (
            (exchanged, "have lesion on most of their border, as where black and white are exchanged"),
            (outlines, "are a line about background, as outlines are"),
        )
        if members
    ]
    return [hint for hint in (*hints, one_for_all(facts)) if hint]
