"""The whole score of one set of 1,450 images against torch-fidelity's own computation, on the same features.

python benchmarks/scores.py [--images 1450] [--rounds 3]: prints a Markdown table. Features are drawn at random, with a
falling spectrum as Inception's have; both sides start from features in memory.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from evaluation.features.config import ScoresConfig
from evaluation.features.store import Features
from evaluation.scores.by_extractor import inception_entries
from evaluation.scores.distances import frechet, mmd2_u, poly
from evaluation.scores.prdc import prdc

WIDTH = 2048


def drawn(n: int, seed: int, shift: float) -> np.ndarray:
    """Return float32 (n, 2048) like rectified features: positive, a few directions carrying most of the variance."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, WIDTH + 1) ** -0.5
    return np.abs(rng.normal(0.4 + shift, 1, (n, WIDTH)) * scale).astype(np.float32)


def timed(work: Callable[[], object], rounds: int) -> tuple[float, object]:
    """Return the least of `rounds` wall times in s, and what the last one returned."""
    best, result = np.inf, None
    for _ in range(rounds):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def main() -> None:
    """Print times and values side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1450)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    n = args.images
    real, other, held_out = drawn(n, 0, 0.0), drawn(n, 1, 0.1), drawn(n // 8, 2, 0.0)
    x, y = torch.from_numpy(real), torch.from_numpy(other)
    size = min(1000, n)

    def theirs_fid() -> float:
        statistics = [fid_features_to_statistics(one) for one in (y, x)]
        return float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])

    def theirs_kid() -> float:
        found = kid_features_to_metric(y, x, kid_subsets=100, kid_subset_size=size, rng_seed=0, verbose=False)
        return float(found["kernel_inception_distance_mean"])

    def theirs_prc() -> float:
        return float(prc_features_to_metric(y, x, prc_neighborhood=5, prc_batch_size=10000, verbose=False)["precision"])

    rows = [
        ("FID", lambda: frechet(real, other), theirs_fid),
        ("KID (ours: whole sets and error; theirs: 100 subsets)", lambda: mmd2_u(real, other, poly)[0], theirs_kid),
        ("precision, recall (ours: density, coverage too)", lambda: prdc(real, other, 5).precision, theirs_prc),
    ]
    sys.stdout.write(f"{n} x {WIDTH} features, {torch.get_num_threads()} threads, least of {args.rounds}\n\n")
    sys.stdout.write(
        "| | ours, s | torch-fidelity, s | ratio | ours | theirs |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    )
    for name, ours, theirs in rows:
        (a, value), (b, reference) = timed(ours, args.rounds), timed(theirs, args.rounds)
        sys.stdout.write(f"| {name} | {a:.2f} | {b:.2f} | {b / a:.1f} | {value:.6g} | {reference:.6g} |\n")
    meta = {"weights": {}, "backbone": "drawn"}
    parts = {
        part: Features([str(i) for i in range(len(one))], {"features": one}, meta)
        for part, one in (("train", real), ("synthetic", other), ("holdout", held_out), ("codec", real))
    }
    whole, _ = timed(lambda: inception_entries(parts, ScoresConfig(extractors=("inception",))), 1)
    sys.stdout.write(f"\nThe whole of it, with floors, halves, codec control and 100 subsets: {whole:.1f} s\n")


if __name__ == "__main__":
    main()
