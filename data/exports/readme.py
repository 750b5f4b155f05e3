"""The README.md of an export."""

from collections import Counter
from pathlib import Path

from data.exports.bundle import Bundle
from data.pairs.files import write_text
from data.pairs.image_io import levels

TERMS = """\
Synthetic pairs are in train only. The mask of each comes from a real training pair, its parent; a donor is a second
one, whose lesion it shows. Keep them on one side when you split train further.

The terms of the real data set apply to all of this, the synthetic pairs too: their generator learned from it.
For research on training segmenters: not for test sets, not for estimates of how common something is, not for clinical
use.
"""


def mask_values(bundle: Bundle) -> str:
    """Return one line that says which grey of a copied mask is which class."""
    greys = levels(len(bundle.classes))[1:].tolist()
    named = ", ".join(f"{grey} {name}" for grey, name in zip(greys, bundle.classes, strict=True))
    return f"Masks are 8-bit grey PNG: 0 background, {named}."


def write_readme(path: Path, bundle: Bundle, title: str, how: str, header: str = "") -> None:
    """Write what the export is, how it is read, its counts by split and source, and the terms."""
    counts = {split: Counter(item.pair.source for item in items) for split, items in bundle.splits.items()}
    sources = sorted({source for count in counts.values() for source in count}, key=lambda name: (name != "real", name))
    table = [f"| split | {' | '.join(sources)} |", f"| --- |{' --- |' * len(sources)}"]
    table += [f"| {split} | {' | '.join(str(n[source]) for source in sources)} |" for split, n in counts.items()]
    made = sum(item.synthetic for items in bundle.splits.values() for item in items)
    total = f"{sum(count.total() for count in counts.values())} pairs, {made} of them synthetic; by source:"
    text = "\n\n".join([f"# {title}", how.strip("\n"), total, "\n".join(table), TERMS])
    write_text(path, header + text)
