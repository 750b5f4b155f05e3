"""export: write real and synthetic pairs in a format that other tools read, or a generator for plain diffusers."""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.exports.formats import FORMATS, Options, export
from data.pairs.errors import UserError
from data.pairs.manifest import read_pairs
from data.pairs.prepared import Prepared
from pipeline.commands.export_diffusers import export_generator
from pipeline.stages.report_cards import CARDS

DIFFUSERS = "diffusers"  # the format of a generator; the others are of pairs
NEEDED = {True: "generator", False: "real"}  # option of the format, by whether it is of a generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    default = Options(name="")
    parser.add_argument("--format", required=True, choices=(*FORMATS, DIFFUSERS), help="what is written")
    parser.add_argument("--real", type=Path, help="of pairs: folder of prepared splits, data/processed/NAME")
    text = "diffusers: folder of a trained generator, outputs/generators/DATASET/NAME-g0"
    parser.add_argument("--generator", type=Path, metavar="FOLDER", help=text)
    text = "pair sets for training only: the largest xN"
    parser.add_argument("--added", nargs="*", default=[], type=Path, metavar="FOLDER", help=text)
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--name", help="of the data set; the name of the folder of real pairs without it")
    text = "nnunet: number of the data set, 11 to 999"
    parser.add_argument("--id", dest="dataset_id", metavar="ID", type=int, default=default.dataset_id, help=text)
    parser.add_argument("--folds", type=int, default=default.folds, help="nnunet: of cross-validation")
    parser.add_argument("--seed", type=int, default=default.seed, help="nnunet: deals pairs into folds")
    parser.add_argument("--shard-pairs", type=int, default=default.shard_pairs, help="webdataset: pairs an archive")
    parser.add_argument("--prompt", default=default.prompt, help="jsonl: text of every line")


def copy_cards(added: Iterable[Path], out: Path) -> list[str]:
    """Copy the cards of folders .../xN/<dataset>/<set> to out/cards/<dataset>/<set>/; return the names of the sets."""
    sets = dict.fromkeys(Path(*folder.resolve().parts[-2:]) for folder in added)
    with_cards = [name for name in sets if any((CARDS / name).glob("*.md"))]
    for name in with_cards:
        for card in sorted((CARDS / name).glob("*.md")):
            (out / "cards" / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(card, out / "cards" / name / card.name)
    return [name.as_posix() for name in with_cards]


def run(item: dict[str, Any]) -> None:
    """Write the export that the parsed options name with the cards there are, and print a line for each split.

    Raises: UserError when the folders hold no pair sets, `out` is there already, or the pairs do not go together; for
    diffusers as `export_generator`.
    """
    needed = NEEDED[item["format"] == DIFFUSERS]
    if item[needed] is None:
        raise UserError(f"--format {item['format']} needs --{needed}: see python -m pipeline export --help")
    if item["format"] == DIFFUSERS:
        export_generator(item["generator"], item["out"])
        return
    given = {field: item[field] for field in ("dataset_id", "folds", "seed", "shard_pairs", "prompt")}
    options = Options(name=item["name"] or item["real"].resolve().name, **given)
    added = [read_pairs(folder) for folder in item["added"]]
    bundle = export(item["format"], Prepared(item["real"]).splits(), added, item["out"], options)
    for split, pairs in bundle.splits.items():
        counts = Counter(pair.pair.source for pair in pairs)
        sys.stdout.write(f"{split}: {', '.join(f'{count} {source}' for source, count in counts.items())}\n")
    for name in copy_cards(item["added"], item["out"]):
        sys.stdout.write(f"cards of {name}\n")
    if copies := bundle.near_copies:
        sys.stdout.write(f"{copies} added images are near copies of real ones: its README.md says what follows\n")
    sys.stdout.write(f"written to {item['out']}\n")
