"""mos: a blinded deck of images for raters, and scores from their answers."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from data.pairs.errors import UserError
from data.pairs.files import write_json
from data.pairs.manifest import MANIFEST, PairSet, read_pairs
from data.pairs.prepared import Prepared
from data.pairs.seeds import item_seed
from evaluation.mos.deck import Options, write_deck
from evaluation.mos.ratings import read_key, read_ratings
from evaluation.mos.score import as_lines, score
from pipeline.params import paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two actions of the verb and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    deck = actions.add_parser("deck", help="write a folder for raters and, apart from it, its key")
    deck.add_argument("--dataset", required=True, help="its sets lie in outputs/samples/x1/DATASET")
    deck.add_argument("--set", nargs="*", default=[], metavar="GENERATOR-MASKS", help="all synthetic sets without it")
    deck.add_argument("--images", type=int, default=50, help="of each set, and as many real ones")
    deck.add_argument("--raters", type=int, default=3, help="how many are planned: fewer are noted with the scores")
    deck.add_argument("--practice", type=int, default=4, help="images that come first and do not count")
    deck.add_argument("--seed", type=int, default=0, help="draws masks, controls and names")
    deck.add_argument("--out", required=True, type=Path, help="folder to make, handed to raters as it is")
    deck.add_argument("--key", type=Path, help="folder to make for the key; OUT-key without it")
    scores = actions.add_parser("score", help="score the answers of all raters")
    scores.add_argument("--key", required=True, type=Path, help="folder of the key")
    scores.add_argument("--ratings", required=True, type=Path, help="folder of ratings-*.csv, one a rater")
    scores.add_argument("--out", required=True, type=Path, help="JSON file to write")


def _synthetic_sets(dataset: str, names: list[str]) -> dict[str, PairSet]:
    """Return name -> synthetic set, of the names or of all. Raises: UserError naming all that are not there."""
    root = paths.samples(dataset, "any", "real").parent
    synthetic: dict[str, PairSet] = {}
    for path in sorted(root.glob(f"*/{MANIFEST}")):
        pairs = read_pairs(path.parent)
        if len(pairs) and all(pair.source not in ("real", "duplicate") for pair in pairs.pairs):
            synthetic[path.parent.name] = pairs
    problems = [f"--set {name}: no such set" for name in names if name not in synthetic]
    if problems or not synthetic:
        known = ", ".join(synthetic) or "none: run dvc repro, which samples them first"
        raise UserError(f"no deck of {dataset}", [*problems, f"synthetic sets in {root}: {known}"])
    return {name: synthetic[name] for name in dict.fromkeys(names or synthetic)}


def _deck(item: dict[str, Any]) -> None:
    options = Options(item["images"], item["practice"], item["raters"], item["seed"])
    least = {"images": 1, "practice": 0, "raters": 1}
    low = [f"--{name} {item[name]}: at least {count}" for name, count in least.items() if item[name] < count]
    if low:
        raise UserError("numbers that cannot be used", low)
    sets = _synthetic_sets(item["dataset"], item["set"])
    prepared = Prepared(paths.processed(item["dataset"]))
    held_out = {name: pairs for name, pairs in prepared.splits().items() if name in prepared.test_names()}
    others = {name: pairs for name, pairs in (("val", prepared.val), ("train", prepared.train)) if pairs}
    key = item["key"] or item["out"].with_name(f"{item['out'].name}-key")
    facts = write_deck(sets, held_out, others, options, item["out"], key)
    sys.stdout.write(f"deck {facts['deck']}: hand {item['out']} to raters, who open index.html in it\n")
    for name, count in facts["images"].items():
        fewer = f" of {options.images} asked for" if count < options.images else ""
        sys.stdout.write(f"  {name}: {count} images{fewer}\n")
    sys.stdout.write(f"key in {key}: keep it from raters, and keep it: without it the answers mean nothing\n")


def _score(item: dict[str, Any]) -> None:
    key = read_key(item["key"])
    ratings = read_ratings(item["ratings"], key)
    scores = score(key, ratings, np.random.default_rng(item_seed("mos bootstrap", key.deck)))
    write_json(item["out"], scores)
    sys.stdout.writelines(f"{line}\n" for line in as_lines(scores))
    sys.stdout.write(f"written to {item['out']}\n")


def run(item: dict[str, Any]) -> None:
    """Write a deck with its key, or scores, and print what it holds. Raises: UserError for what cannot be used."""
    {"deck": _deck, "score": _score}[item["action"]](item)
