"""How each score of a synthetic set is shown: its label and which direction is better; what it is, its entry says."""

from typing import Literal, NamedTuple


class Score(NamedTuple):
    """How a score is shown. Headline scores have a column in the main table."""

    label: str
    better: Literal["lower", "higher", "neither"]
    headline: bool = False


SCORES = {
    "fid": Score("FID", "lower", headline=True),
    "kid": Score("KID", "lower", headline=True),
    "clip_i": Score("CLIP-I", "higher", headline=True),
    "lpips_paired": Score("LPIPS", "lower", headline=True),
    "cmmd": Score("CMMD", "lower", headline=True),
    "demo_swd": Score("SWD, demo", "lower", headline=True),
    "demo_fd_rand": Score("FD, demo", "lower", headline=True),
    "demo_kid_rand": Score("KID, demo", "lower", headline=True),
    "mask_fidelity": Score("Mask fidelity", "higher", headline=True),
    "mask_fidelity_permuted": Score("Mask fidelity, masks swapped", "neither"),
    "mask_fidelity_real": Score("Mask fidelity of held-out real pairs", "neither"),
    "copy_rate": Score("Copies", "lower", headline=True),
    "copy_rate_parent": Score("Copies of the own mask's image", "lower"),
    "copy_rate_other": Score("Copies of another image", "lower"),
    "closer_to_train": Score("Nearer to training", "neither"),
    "self_retrieval": Score("Own image nearest", "neither"),
    "copy_rate_clip": Score("Copies, CLIP", "lower"),
    "colour_shift": Score("Colour shift", "lower"),
    "colour_histogram": Score("Colour histograms", "lower"),
    "colour_drift": Score("Colour drift", "lower"),
    "precision": Score("Precision", "higher"),
    "recall": Score("Recall", "higher"),
    "density": Score("Density", "higher"),
    "coverage": Score("Coverage", "higher"),
    "demo_precision": Score("Precision, demo", "higher"),
    "demo_recall": Score("Recall, demo", "higher"),
    "demo_density": Score("Density, demo", "higher"),
    "demo_coverage": Score("Coverage, demo", "higher"),
    "clip_i_paired": Score("CLIP-I, paired", "neither"),
    "cmmd_unbiased": Score("CMMD, unbiased", "lower"),
    "lpips_unpaired": Score("LPIPS, unpaired", "neither"),
    "lpips_diversity": Score("LPIPS, diversity", "higher"),
    "mos": Score("MOS", "higher", headline=True),
}


def score(name: str) -> Score:
    """Return how a score is shown; one that is not listed keeps its name and has no direction."""
    return SCORES.get(name, Score(name, "neither"))


def by_importance(names: set[str]) -> list[str]:
    """Return the names in the order of the glossary, then the unknown ones by alphabet."""
    return [name for name in SCORES if name in names] + sorted(names - set(SCORES))
