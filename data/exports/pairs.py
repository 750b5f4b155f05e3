"""Pair sets as this project reads them: a folder a split with images/, masks/ and manifest.csv."""

from dataclasses import replace
from pathlib import Path

from data.exports.bundle import Bundle, copy_pair
from data.exports.formats import Options
from data.exports.readme import mask_values, write_readme
from data.pairs.manifest import complete, file_names, write_manifest

HOW = """\
One folder a split: `images/<id>.png` (RGB), `masks/<id>.png` of the same id, and `manifest.csv` with one row a pair:
source, parent, group, domain, seed, hashes.
"""


def write(bundle: Bundle, folder: Path, options: Options) -> None:
    """Write <split>/images/<id>.png, <split>/masks/<id>.png and <split>/manifest.csv."""
    for split, items in bundle.splits.items():
        rows = []
        for item in items:
            image, mask = file_names(item.id)
            copy_pair(item, folder / split, image, mask)
            row = replace(item.pair, id=item.id, image=image, mask=mask, split=split)
            rows.append(complete(folder / split, replace(row, parent=item.parent, donor=item.donor)))
        write_manifest(folder / split, rows)
    write_readme(folder / "README.md", bundle, f"{options.name}: image-mask pairs", HOW + mask_values(bundle))
