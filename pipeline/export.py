"""export: pair sets in the format of another program."""

import argparse
from pathlib import Path
from typing import TextIO

# The names of data.pairs.export.FORMATS, here once more so that --help need not import it.
FORMATS = ("pairs", "nnunet", "imagefolder", "webdataset", "coco", "jsonl")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--out", required=True, type=Path, help="new folder")
    parser.add_argument(
        "--pairs", required=True, type=Path, nargs="+", metavar="FOLDER", help="pair sets: folders with manifest.csv"
    )
    parser.add_argument("--label", help="nnunet, coco: name of what the masks show (lesion)")
    parser.add_argument("--dataset-id", type=int, help="nnunet: number of the data set, 11 to 999")
    parser.add_argument("--name", help="nnunet: name of the data set")
    parser.add_argument("--folds", type=int, help="nnunet: number of folds (5; the val set alone where there is one)")
    parser.add_argument("--seed", type=int, help="nnunet: draws the folds (0)")
    parser.add_argument("--shard-size", type=int, help="webdataset: most samples in a shard (1000)")
    parser.add_argument("--prompt", help="jsonl: the text of every pair")


def run_export(item: dict, out: TextIO) -> None:
    """Write the export and say how many pairs it holds. Raises: UserError, see data.pairs.export."""
    from data.pairs.export import export

    options = {name: value for name, value in item.items() if value is not None}
    name, folders, target = options.pop("format"), options.pop("pairs"), options.pop("out")
    counts = export(name, folders, target, options)
    out.write(f"{target}: {', '.join(f'{count} {split}' for split, count in counts.items())}\n")
