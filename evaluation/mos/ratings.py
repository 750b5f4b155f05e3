"""The key of a deck and the answers of its raters, read and checked."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.pairs.errors import UserError
from data.pairs.files import read_json
from data.pairs.tables import read_table
from evaluation.mos.deck import FACTS, KEY, RATED, Card

COLUMNS = ("deck", "rater", "image", "answer", "confidence", "seconds")
ANSWERS = ("real", "synthetic")
CONFIDENCES = tuple(map(str, range(11)))
SHOWN = 5  # images of one problem of a file that are named

Row = Mapping[str, str]


class Key(NamedTuple):
    """What a deck holds: its id, the facts that were written with it, and a card for each image."""

    deck: str
    facts: Mapping[str, object]
    cards: tuple[Card, ...]

    def rated(self) -> list[Card]:
        """Return the cards that count, in the order of the key."""
        return [card for card in self.cards if card.use == RATED]


class Ratings(NamedTuple):
    """The answers of R raters, 0 or more, to the N rated images of a key, in its order."""

    folder: Path
    real: np.ndarray  # bool (R, N): judged real
    confidence: np.ndarray  # int (R, N), 0-10


def _read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file with these columns, whatever its line ends and byte order mark."""
    return [{name: row[name] for name in columns} for row in read_table(path, columns, filled=True)]


def read_key(folder: Path) -> Key:
    """Return the key that was written with a deck.

    Raises: UserError when the folder holds none.
    """
    absent = [f"{name}: missing" for name in (KEY, FACTS) if not (folder / name).is_file()]
    if absent:
        raise UserError(f"{folder} is not the key of a deck", absent)
    rows = _read_rows(folder / KEY, ("deck", *Card._fields))
    facts = read_json(folder / FACTS, "bring back the file that was written with the deck", ("deck",))
    return Key(facts["deck"], facts, tuple(Card(*(row[name] for name in Card._fields)) for row in rows))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _problems(rows: Sequence[Row], key: Key) -> Iterator[str]:
    """Yield a line for each kind of problem of one file."""
    names = {row["rater"].strip() for row in rows}
    if names != {name for name in names if name} or len(names) > 1:
        yield f"the rater must be one and the same in every row, found: {_some(sorted(n or 'empty' for n in names))}"
    decks = {row["deck"] for row in rows} - {key.deck}
    if decks:
        yield f"wrong deck: {_some(sorted(d or 'empty' for d in decks))}, the key is that of {key.deck}"
        return  # everything else would be wrong too
    rated = {card.image for card in key.rated()}
    counts = Counter(row["image"] for row in rows)
    found = {
        "unknown images": sorted(set(counts) - rated),
        "images answered twice": sorted(image for image, count in counts.items() if count > 1),
        "images without an answer": sorted(rated - set(counts)),
    }
    for title, column, allowed in (
        ("answers that are not real or synthetic", "answer", ANSWERS),
        ("confidences that are not 0 to 10", "confidence", CONFIDENCES),
    ):
        found[title] = [f"{row['image']} ({row[column] or 'empty'})" for row in rows if row[column] not in allowed]
    yield from (f"{len(images)} {title}: {_some(images)}" for title, images in found.items() if images)


def read_ratings(folder: Path, key: Key) -> Ratings:
    """Return the answers in all CSV files of a folder, raters in the order of the file names; there may be none.

    Raises: UserError that names every problem of every file: columns, rater, deck, images that are unknown, answered
    twice or not at all, values that are not allowed, and one rater in two files.
    """
    problems: list[str] = []
    files: dict[str, list[Path]] = {}
    answers: list[dict[str, Row]] = []
    for path in sorted(folder.glob("*.csv")):
        try:
            rows = _read_rows(path, COLUMNS)
        except UserError as error:
            problems += [error.title, *error.problems]
            continue
        if not rows:
            problems.append(f"{path}: holds no answer")
            continue
        problems += [f"{path}: {problem}" for problem in _problems(rows, key)]
        files.setdefault(rows[0]["rater"].strip(), []).append(path)
        answers.append({row["image"]: row for row in rows})
    for rater, paths in files.items():
        if len(paths) > 1:
            problems.append(f"rater {rater} has {len(paths)} files: {', '.join(map(str, paths))}")
    if problems:
        raise UserError(f"the ratings cannot be scored: {len(problems)} problems", problems)
    images = [card.image for card in key.rated()]
    real = [[rows[image]["answer"] == "real" for image in images] for rows in answers]
    confidence = [[int(rows[image]["confidence"]) for image in images] for rows in answers]
    shape = (len(answers), len(images))
    return Ratings(folder, np.array(real, bool).reshape(shape), np.array(confidence, int).reshape(shape))
