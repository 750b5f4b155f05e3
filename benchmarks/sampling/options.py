"""What buys sampling speed by changing the images: each named option beside its cost, on the trained default run.

    dvc repro && python benchmarks/sampling/options.py [--dataset phantom] [--generator siamese] [--masks random]

Each option samples the masks of the first copy anew with the trained generator and is scored as the stage `score` does:
lite0_kernel (lower is better) and mask fidelity (Dice of the judge against the masks that were asked for).
The time is that of sampling alone, the fastest of the rounds; networks are loaded before. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

OPTIONS: dict[str, dict] = {
    "as in params.yaml": {},
    "dpm++, half the steps": {"solver": "dpm++", "steps": 0.5},
    "ddim, half the steps": {"steps": 0.5},
    "guidance on the first half": {"guided_share": 0.5},
    "no guidance": {"guidance": 1.0},
    "encoder every 2nd step": {"encoder_every": 2},
    "encoder every 4th step": {"encoder_every": 4},
}
ROUNDS = 2


def _changed(cfg, change: dict):
    """Return the sampling settings with a change; a fraction of `steps` is a share of what was there."""
    steps = change.get("steps", 1.0)
    return cfg.model_copy(update={**change, "steps": max(1, round(cfg.steps * steps))})


def main() -> None:
    """Sample with every option and print time and scores side by side."""
    from data.pairs.assemble import write_synthetic
    from data.pairs.manifest import read_pairs
    from evaluation.audit.per_image import inspect_images
    from evaluation.features.extractors import extract_features
    from evaluation.features.images import Images
    from evaluation.features.store import read_parts
    from evaluation.scores.score import score
    from pipeline.params import paths
    from pipeline.params.read import load_params
    from segmentation.inference.predict import load_segmenter
    from siamese.load import load
    from siamese.sampling.sample import sample_images

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("dataset", "phantom"), ("generator", "siamese"), ("masks", "random")):
        parser.add_argument(f"--{name}", default=default)
    args = parser.parse_args()
    params = load_params({"sampling": "sampling", "features": "features", "scores": "scores"}, {})
    scores = params.scores.model_copy(update={"extractors": ("lite0",)})
    base = paths.base(args.dataset)
    folder = paths.generator(args.dataset, args.generator)
    masks = read_pairs(paths.masks(args.dataset, args.masks, 1))
    train = read_pairs(paths.processed(args.dataset, "train"))
    features = read_parts(paths.features(args.dataset, "real", "real", "lite0"))
    inspected = read_parts(paths.inspected(args.dataset, "real", "real"))
    judge = load_segmenter(paths.judge(args.dataset))
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, change) in enumerate(OPTIONS.items()):
            cfg, seconds = _changed(params.sampling, change), []
            sampler = load(folder, base, cfg)
            for turn in range(ROUNDS + 1):  # the first warms up
                images = Path(scratch) / f"{number}-{turn}"
                start = time.perf_counter()
                sample_images(masks, sampler, cfg, images, {})
                seconds.append(time.perf_counter() - start)
            pairs = write_synthetic([masks], [images], args.generator, Path(scratch) / f"pairs-{number}")
            parts = {"synthetic": Images(pairs)}
            drawn = extract_features("lite0", train, parts, params.features, {})
            looked_at = inspect_images(parts, judge, batch=params.features.batch)
            flat = score({"lite0": features | drawn}, inspected | looked_at, scores).flat
            quality = {key: flat[key] for key in ("lite0_kernel", "mask_fidelity")}
            found[name] = {"seconds": round(min(seconds[1:]), 2), **quality}
    first = found["as in params.yaml"]["seconds"]
    sys.stdout.write(f"{len(masks)} masks, {params.sampling.steps} steps, guidance {params.sampling.guidance:g}\n")
    for name, row in found.items():
        row["speed"] = round(first / row["seconds"], 2)
        text = f"{row['seconds']:7.2f} s  {row['speed']:5.2f}x  lite0_kernel {row['lite0_kernel']:.4f}"
        sys.stdout.write(f"{name:28s} {text}  mask fidelity {row['mask_fidelity']:.3f}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
