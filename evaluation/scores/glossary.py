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
    "lite0_frechet": Score(
        "Frechet distance, lite0", "lower", True, "Frechet distance between features of EfficientNet-Lite0; no FID."
    ),
    "lite0_kernel": Score(
        "Kernel distance, lite0",
        "lower",
        True,
        "Squared kernel distance (cubic kernel, unbiased) between features of EfficientNet-Lite0; no KID.",
    ),
    "lite0_kernel_heldout": Score(
        "Kernel distance to held-out images, lite0",
        "lower",
        False,
        "The same to real images that no generator saw: copies of training images do not lower it.",
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
    "copy_rate": Score(
        "Copies", "lower", True, "Share of synthetic images nearer to a training image than nearly any real one."
    ),
    "copy_rate_parent": Score("Copies of the own mask's image", "lower", False, "The part that copies its own parent."),
    "copy_rate_other": Score("Copies of another image", "lower", False, "The part that copies another training image."),
    "copy_rate_unlabelled": Score(
        "Copies of images without masks", "lower", False, "The copy rate against the images without masks."
    ),
    "self_retrieval_unlabelled": Score(
        "Nearest to its start", "lower", False, "Share whose nearest image without a mask is the one they start from."
    ),
    "closer_to_train": Score(
        "Nearer to training",
        "neither",
        False,
        "Chance to be nearer to a training image than to a fresh one; 0.5 is fair.",
    ),
    "self_retrieval": Score(
        "Own image nearest", "neither", False, "Share whose nearest training image is that of their own mask."
    ),
    "copy_rate_clip": Score("Copies, CLIP", "lower", False, "The copy rate on CLIP embeddings."),
    "colour_shift": Score("Colour shift", "lower", False, "Delta E between the mean colours of both sets."),
    "colour_histogram": Score("Colour histograms", "lower", False, "1-Wasserstein distance between Lab histograms."),
    "colour_drift": Score("Colour drift", "lower", False, "How odd the colours of an image are among real ones."),
    "precision": Score("Precision", "higher", False, "Share of synthetic images among real ones, Inception features."),
    "recall": Score("Recall", "higher", False, "Share of real images among synthetic ones, Inception features."),
    "density": Score("Density", "higher", False, "How many real neighbourhoods hold a synthetic image."),
    "coverage": Score("Coverage", "higher", False, "Share of real neighbourhoods that hold a synthetic image."),
    "lite0_precision": Score("Precision, lite0", "higher", False, "Precision in features of EfficientNet-Lite0."),
    "lite0_recall": Score("Recall, lite0", "higher", False, "Recall in features of EfficientNet-Lite0."),
    "lite0_density": Score("Density, lite0", "higher", False, "Density in features of EfficientNet-Lite0."),
    "lite0_coverage": Score("Coverage, lite0", "higher", False, "Coverage in features of EfficientNet-Lite0."),
    "clip_i_paired": Score("CLIP-I, paired", "neither", False, "CLIP-I over pairs of one mask; copies raise it."),
    "cmmd_unbiased": Score("CMMD, unbiased", "lower", False, "CMMD as a U-statistic."),
    "lpips_unpaired": Score("LPIPS, unpaired", "neither", False, "LPIPS between real and synthetic images at random."),
    "lpips_diversity": Score("LPIPS, diversity", "higher", False, "LPIPS between synthetic images at random."),
    "mos": Score("MOS", "higher", True, "Share of synthetic images that raters take for real."),
}


def score(name: str) -> Score:
    """Return how a score is shown; one that is not listed keeps its name and has no direction."""
    return SCORES.get(name, Score(name, "neither", False, ""))


def by_importance(names: set[str]) -> list[str]:
    """Return the names in the order of the glossary, then the unknown ones by alphabet."""
    return [name for name in SCORES if name in names] + sorted(names - set(SCORES))
