"""generate: images for a folder of masks with a trained generator, from any working directory."""

import argparse
import sys
from pathlib import Path
from typing import Any

from data.pairs.errors import UserError
from pipeline.params.options import reading_of, value_of
from siamese.config.sections import SamplingConfig
from siamese.how_sampled import SETTINGS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb: its own, and one for each key of `sampling` in params.yaml."""
    parser.add_argument("--generator", required=True, metavar="PATH", help="outputs/generators/DATASET/NAME-gSEED")
    parser.add_argument("--masks", required=True, metavar="FOLDER", help="one picture for each mask, of any size")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="to make: images/, masks/ and manifest.csv")
    parser.add_argument("--per-mask", type=int, default=1, metavar="K", help="images for each mask (1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (0); another gives other images")
    text = "how masks are read, as in a data-set row: '{mask_threshold: 0, inverted_masks: true}'"
    parser.add_argument("--reading", metavar="YAML", help=text)
    parser.add_argument("--device", help="such as cpu or cuda:1; a GPU where there is one without it")
    parser.add_argument(
        "--base", metavar="FOLDER", help="of the base model, where it is not found beside the generator"
    )
    parser.add_argument("--normal", metavar="FOLDER", help="pair set of images without a lesion, likewise")
    sampling = parser.add_argument_group("sampling, in place of what params.yaml of the generator's project says")
    for name in SETTINGS:
        text = (SamplingConfig.model_fields[name].description or "").replace("%", "%%")
        sampling.add_argument(f"--{name.replace('_', '-')}", type=value_of, metavar="X", help=text)


def run(item: dict[str, Any]) -> None:
    """Write the pair set and print where it lies and how its images were made.

    Raises: UserError when something lacks, masks are not read, the method takes no masks, or `out` is there already.
    """
    from siamese import load_generator

    changes = {name: item[name] for name in SETTINGS if item[name] is not None}
    places = {name: item[name] for name in ("base", "normal", "device")}
    reading, masks = reading_of(item["reading"]), Path(item["masks"]).expanduser()
    if not masks.is_dir():
        raise UserError(f"--masks {masks} is no folder: give one that holds a picture for each mask")
    generator = load_generator(item["generator"], **places, **changes)
    size, source = f"{generator.size_px}x{generator.size_px} px", generator.found.sampling_from
    settings = ", ".join(f"{name} {value}" for name, value in generator.settings.items())
    sys.stderr.write(f"{generator.name}: {size}, {settings} (the rest as {source} says)\n")
    try:
        made = generator.write(masks, item["out"], item["seed"], per_mask=item["per_mask"], reading=reading)
    except KeyboardInterrupt:
        sys.stderr.write("stopped: the same command goes on from here\n")
        raise SystemExit(130) from None
    sys.stdout.write(f"{len(made)} pairs in {item['out']}: images/, masks/, manifest.csv\n")
