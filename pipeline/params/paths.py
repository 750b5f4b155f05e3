"""Where every stage reads and writes; dvc.yaml says the same, and a test compares the two."""

from pathlib import Path

RESULTS = Path("results")


def downloads(name: str) -> Path:
    """Return the folder of archives that were fetched, or that the user put there; no stage ever deletes it."""
    return Path("data/downloads") / name


def seeded(source: str, generator_seed: int | None) -> str:
    """Return what a source is called in paths: a generator by its training seed too, all else, without one, as it is.

    evaluation/results/results.py takes such names apart.
    """
    return source if generator_seed is None else f"{source}-g{generator_seed}"


def raw(name: str) -> Path:
    """Return the folder that the archives of a download are unpacked into."""
    return Path("data/raw") / name


def checksums(name: str) -> Path:
    """Return the file, tracked by git, of the hashes that archives had when they were first seen."""
    return Path("data/checksums") / f"{name}.json"


def processed(dataset: str, split: str | None = None) -> Path:
    """Return the folder of the prepared splits, or of one of them, which is a pair set."""
    folder = Path("data/processed") / dataset
    return folder / split if split else folder


def normal(dataset: str) -> Path:
    """Return the folder of images without a lesion, a pair set with empty masks, which may hold none."""
    return Path("data/processed") / dataset / "pools" / "normal"


def unlabelled(dataset: str) -> Path:
    """Return the folder of prepared images without masks, apart from the pairs, so that they rerun the base alone."""
    return Path("data/unlabelled") / dataset


def base(dataset: str) -> Path:
    """Return the folder of the base model."""
    return Path("outputs/base") / dataset


def latents(dataset: str) -> Path:
    """Return the folder of cached latents and prompt embeddings."""
    return Path("outputs/latents") / dataset


def refiner(dataset: str, name: str) -> Path:
    """Return the folder of what a segmenter gives a generator, if it does: a loss, or masks of images without one."""
    return Path("outputs/refiners") / dataset / name


def pseudo_pairs(dataset: str, name: str) -> Path:
    """Return the folder of the images without masks as a pair set, for a generator that trains on them."""
    return refiner(dataset, name) / "pseudo"


def generator(dataset: str, name: str, seed: int) -> Path:
    """Return the folder of a generator that was trained with a seed."""
    return Path("outputs/generators") / dataset / seeded(name, seed)


def masks(dataset: str, name: str, copy: int | None = None) -> Path:
    """Return the folder of the masks of every copy, or of one copy."""
    folder = Path("outputs/masks") / dataset / name
    return folder / str(copy) if copy else folder


def samples(dataset: str, source: str, mask_name: str, multiple: int = 1) -> Path:
    """Return the pair set that is added to the real pairs; here and below a generator's `source` is a seeded one."""
    return Path("outputs/samples") / f"x{multiple}" / dataset / f"{source}-{mask_name}"


def judge(dataset: str) -> Path:
    """Return the folder of the segmenter that judges mask fidelity."""
    return Path("outputs/judges") / dataset


def features(dataset: str, source: str, mask_name: str, extractor: str | None = None) -> Path:
    """Return the folder of a pair set's features under each extractor, or under one; real, real is the real pairs."""
    folder = Path("outputs/features") / dataset / f"{source}-{mask_name}"
    return folder / extractor if extractor else folder


def inspected(dataset: str, source: str, mask_name: str) -> Path:
    """Return the folder of what was measured of every image by itself."""
    return Path("outputs/inspected") / dataset / f"{source}-{mask_name}"


def scored(dataset: str, source: str, mask_name: str) -> Path:
    """Return the table with one row of scores an image."""
    return Path("outputs/inspected") / dataset / f"{source}-{mask_name}.csv"


def segmenter(dataset: str, architecture: str, run: str) -> Path:
    """Return the folder of a trained segmenter."""
    return Path("outputs/segmenters") / dataset / architecture / run


def curve(dataset: str, architecture: str, run: str) -> Path:
    """Return the file of a segmenter's losses, step by step."""
    return RESULTS / "curves" / dataset / architecture / f"{run}.csv"


def run_name(source: str, mask_name: str, multiple: int, seed: int) -> str:
    """Return the name of one segmenter run."""
    return f"{source}-{mask_name}-x{multiple}-s{seed}"
