"""Exports as plain folders: pair sets, and the JSON Lines of ControlNet and Siamese-Diffusion."""

import json
from pathlib import Path

from data.pairs.export_common import Splits, copy_pair, progress, write_readme
from data.pairs.files import write_text
from data.pairs.manifest import PairSet, write_manifest


def _copy_splits(splits: Splits, out: Path) -> dict[str, PairSet]:
    return {
        split: write_manifest(out / split, [copy_pair(entry, out / split) for entry in progress(entries, split)])
        for split, entries in splits.items()
    }


def write_pairs(splits: Splits, out: Path) -> None:
    """Write <split>/images, <split>/masks and <split>/manifest.csv: pair sets, as the pipeline itself reads them."""
    _copy_splits(splits, out)
    lines = ["Each split holds `images/<id>.png` (RGB), `masks/<id>.png` (0 or 255) and `manifest.csv`."]
    write_readme(out, "Image-mask pairs", lines, splits)


def write_jsonl(splits: Splits, out: Path, *, prompt: str) -> None:
    """Write pair sets with <split>/prompt.json: one JSON object a line, mask as `source` and image as `target`.

    prompt.json is the name that the code of ControlNet and Siamese-Diffusion opens; paths are relative to its folder.
    """
    for split, pair_set in _copy_splits(splits, out).items():
        rows = [{"source": pair.mask, "target": pair.image, "prompt": prompt} for pair in pair_set.pairs]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_text(out / split / "prompt.json", "".join(lines))
    lines = [
        "Each split holds `prompt.json`, one JSON object a line: `source` is the mask, `target` the image, both relative",
        "to the folder of the split. `manifest.csv` says where each pair comes from.",
    ]
    write_readme(out, "Image-mask pairs with a prompt", lines, splits)
