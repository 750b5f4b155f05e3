"""Tables as the text of a CSV file."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()
