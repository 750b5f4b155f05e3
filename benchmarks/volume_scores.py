"""Scores of sets that the pipeline trains segmenters on but does not score: multiples of the real pairs, filtered sets.

python -m benchmarks.volume_scores kvasir-seg outputs/samples/x16/kvasir-seg/best-g0-random, in the folder of a run,
prints a Markdown table. Features are lite0's, whose weights are in a Python package; the judge is the run's own.
"""

import argparse
import sys
from pathlib import Path

from data.pairs.prepared import read_lone_images
from evaluation.audit.per_image import inspect_images, inspect_lone
from evaluation.features.config import FeaturesConfig, ScoresConfig
from evaluation.features.extractors import extract_features
from evaluation.features.images import Images, image_sets
from evaluation.scores.score import score
from pipeline.params import paths
from segmentation.inference.predict import load_segmenter

COLUMNS = {
    "lite0_kernel": "kernel distance to training images x 1000",
    "lite0_kernel_heldout": "to held-out images",
    "mask_fidelity": "mask fidelity",
    "mask_fidelity_permuted": "of permuted masks",
    "mask_fidelity_real": "of real pairs",
    "copy_rate": "copies",
    "copy_rate_unlabelled": "of images without masks",
}


def cell(name: str, scores: dict[str, float | None]) -> str:
    """Return one value as text, with its error behind it if it has one, or - if it could not be computed."""
    value, error = scores.get(name), scores.get(f"{name}_se")
    if value is None:
        return "-"
    if name.startswith("lite0"):
        return f"{1000 * value:.0f}" + (f" ± {1000 * error:.0f}" if error is not None else "")
    return f"{value:.3f}"


def main() -> None:
    """Print a row for each set as soon as it is scored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("sets", nargs="+", type=Path, help="folders of pairs with a manifest")
    args = parser.parse_args()
    config = FeaturesConfig()
    judge = load_segmenter(paths.judge(args.dataset))
    real = image_sets(paths.processed(args.dataset), None)
    train = real["train"].set
    inspected = inspect_images(real, judge, batch=config.batch)
    if lone := read_lone_images(paths.unlabelled(args.dataset)):
        inspected["unlabelled"] = inspect_lone(lone, batch=config.batch)
    features = extract_features("lite0", train, real | {"codec": Images(train, codec=True)}, config, {})
    head = "| | images | " + " | ".join(COLUMNS.values()) + " |\n"
    sys.stdout.write(head + "| --- |" + " ---: |" * (len(COLUMNS) + 1) + "\n")
    for folder in args.sets:
        of_set = image_sets(paths.processed(args.dataset), folder)
        found = score(
            {"lite0": features | extract_features("lite0", train, of_set, config, {})},
            inspected | inspect_images(of_set, judge, batch=config.batch),
            ScoresConfig(extractors=("lite0",)),
        )
        values = " | ".join(cell(name, found.flat) for name in COLUMNS)
        sys.stdout.write(f"| {folder} | {len(of_set['synthetic'])} | {values} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
