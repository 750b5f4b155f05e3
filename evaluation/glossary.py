"""What each score of a synthetic set means: its label, which direction is better, one plain sentence."""

from typing import Literal, NamedTuple


class Score(NamedTuple):
    """How a score is shown. Headline scores have a column in the main table."""

    label: str
    better: Literal["lower", "higher", "neither"]
    headline: bool
    meaning: str


SCORES = {
    "fid": Score("FID", "lower", True, "Frechet distance between Inception features of real and synthetic images."),
    "kid": Score("KID", "lower", True, "Squared kernel distance (cubic kernel, unbiased) between Inception features."),
    "clip_i": Score("CLIP-I", "higher", True, "Mean cosine between CLIP embeddings of real and synthetic images."),
    "lpips_paired": Score(
        "LPIPS", "lower", True, "Perceptual distance between a synthetic image and the real one whose mask it has."
    ),
    "cmmd": Score("CMMD", "lower", True, "Squared kernel distance between CLIP embeddings, times 1000, V-statistic."),
    "demo_swd": Score(
        "SWD, demo", "lower", True, "Sliced Wasserstein distance between patches of Laplacian pyramids; no network."
    ),
    "demo_fd_rand": Score(
        "FD, demo", "lower", True, "Frechet distance between features of randomly initialised encoders."
    ),
    "demo_kid_rand": Score(
        "KID, demo", "lower", True, "Squared kernel distance between features of randomly initialised encoders."
    ),
    "mask_fidelity": Score(
        "Mask fidelity",
        "higher",
        True,
        "Foreground Dice between the mask that was asked for and what a segmenter, trained on real pairs only, finds.",
    ),
    "mask_fidelity_permuted": Score(
        "Mask fidelity, masks swapped", "neither", False, "The same with each image against another image's mask."
    ),
    "mask_fidelity_real": Score(
        "Mask fidelity of held-out real pairs", "neither", False, "The same segmenter on real pairs that it never saw."
    ),
    "cmmd_unbiased": Score("CMMD, unbiased", "lower", False, "CMMD as a U-statistic."),
    "lpips_unpaired": Score("LPIPS, unpaired", "neither", False, "LPIPS between real and synthetic images at random."),
    "lpips_diversity": Score("LPIPS, diversity", "higher", False, "LPIPS between synthetic images at random."),
}


def score(name: str) -> Score:
    """Return how a score is shown; one that is not listed keeps its name and has no direction."""
    return SCORES.get(name, Score(name, "neither", False, ""))


def by_importance(names: set[str]) -> list[str]:
    """Return the names in the order of the glossary, then the unknown ones by alphabet."""
    return [name for name in SCORES if name in names] + sorted(names - set(SCORES))
