"""Tables as the text of a CSV file."""

import csv
import io
from collections.abc import Iterable, Sequence

from data.pairs.manifest import as_cell


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file; None is an empty cell, and no text is a formula to a spreadsheet: `of_cell` reads it back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([as_cell(cell) for cell in line] for line in lines)
    return text.getvalue()
