"""The part of the report that says what each score is, on how many images, and why one is missing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evaluation.results.generators import SPREADS, over_generators
from evaluation.results.results import Run, Scores
from evaluation.scores.glossary import by_importance, score
from evaluation.tables.text import ARROWS, MISSING, PLUS_MINUS, Cell, TextTable, number, ranged

COUNTS = {"n_real": "Real images", "n_synthetic": "Synthetic images"}
FACTS = {
    "backbone": "features",
    "weights": "weights",
    "n_real": "real images",
    "n_synthetic": "synthetic images",
    "n_floor": "held-out real images for the floor",
    "note": "",
}

KEPT = {
    "last": "those of the last epoch",
    "best_val": "the best on validation pairs",
    "best_test": "the best on the test sets, so that their results say too much",
}

Entry = Mapping[str, object]


class Meaning(NamedTuple):
    """A score's name in the JSON files, its label, what it is and the facts that the score stage recorded."""

    name: str
    label: str
    sentence: str
    facts: tuple[str, ...]


class ScoreSection(NamedTuple):
    """The scores of one data set: values, meanings, and (names, reason) of what could not be computed."""

    dataset: str
    values: TextTable
    meanings: list[Meaning]
    missing: list[tuple[str, str]]
    lite0: bool


def weights_sentence(runs: Iterable[Run]) -> str:
    """Return which weights of the segmenters were tested, as the runs recorded it."""
    by_rule: dict[str, set[str]] = {}
    for run in runs:
        row = run.details.get("row")
        if isinstance(row, Mapping):
            by_rule.setdefault(str(row.get("keep", "last")), set()).add(run.key.architecture)
    if set(by_rule) <= {"last"}:
        return "All segmenters keep the weights of their last epoch; none is picked by its test result."
    told = [f"{', '.join(sorted(names))}: {KEPT.get(rule, rule)}" for rule, names in sorted(by_rule.items())]
    return f"Weights that were tested: {'; '.join(told)}."


def score_section(dataset: str, scores: Sequence[Scores]) -> ScoreSection:
    """Return what the report says about the scores of one data set; `scores` are those of its synthetic sets.

    Sets of one generator that was trained several times are one column: mean, lowest and highest.
    """
    scores = over_generators(scores)
    entries = [_entries(one) for one in scores]
    by_name = {name: [one.get(name, {}) for one in entries] for name in by_importance(set().union(*entries))}
    shown = {name: row for name, row in by_name.items() if any(entry.get("value") is not None for entry in row)}
    rows = []
    for name, row in shown.items():
        floors = [number(floor) for entry in row if (floor := _number(entry.get("floor"))) is not None]
        texts = [score(name).label + ARROWS[score(name).better], *map(_value, row)]
        rows.append([Cell(text) for text in [*texts, " or ".join(dict.fromkeys(floors)) or MISSING]])
    for name, title in COUNTS.items():
        counts = [one.metrics.get(name) for one in scores]
        rows.append([Cell(title), *(Cell(MISSING if n is None else f"{n:.0f}") for n in counts), Cell("")])
    columns = ["Score", *map(_name, scores), "Floor"]
    return ScoreSection(
        dataset,
        values=TextTable([], columns, rows),
        meanings=[_meaning(name, row) for name, row in shown.items()],
        missing=_missing(scores, by_name),
        lite0=any(name.startswith("lite0_") for name in shown),
    )


def _name(one: Scores) -> str:
    seeds = one.details.get("generator_seeds", ())
    return f"{one.source}, {one.masks} masks" + (f", {len(seeds)} trainings" if seeds else "")


def _entries(one: Scores) -> Mapping[str, Entry]:
    """Return name -> {value, spread, and the recorded facts}, from the flat metrics and the details."""
    recorded: dict[str, dict] = {
        name: dict(entry) for name, entry in one.details.items() if isinstance(entry, Mapping) and "value" in entry
    }
    for name, value in one.metrics.items():
        if name not in COUNTS and not name.endswith(SPREADS):
            entry = recorded.setdefault(name, {})
            entry["value"] = value
            for spread in SPREADS:
                entry.setdefault(spread[1:], one.metrics.get(name + spread))
    return recorded


def _distinct(row: Sequence[Entry], fact: str) -> list[str]:
    """Return what the sets recorded of one fact about one score, each once, as text."""
    values = [value for entry in row if (value := entry.get(fact))]
    texts = [", ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values]
    return list(dict.fromkeys(texts))


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _spread(entry: Entry) -> tuple[float, str] | None:
    """Return what stands behind the sign and what it is: the standard error if known, else the standard deviation.

    There is none of 0, such as that of a share without a single case: it would say that the value is certain.
    """
    for name, words in (("se", "standard error"), ("sd", "standard deviation")):
        if (spread := _number(entry.get(name))) is not None:
            return (spread, words) if spread else None
    return None


def _value(entry: Entry) -> str:
    text, spread = ranged(*(_number(entry.get(name)) for name in ("value", "low", "high"))), _spread(entry)
    return text if spread is None else f"{text} {PLUS_MINUS} {number(spread[0])}"


def _meaning(name: str, row: Sequence[Entry]) -> Meaning:
    told = [(f"{title}: " if title else "", _distinct(row, fact)) for fact, title in FACTS.items()]
    spreads = [spread[1] for entry in row if (spread := _spread(entry))]
    told.append((f"{PLUS_MINUS}: ", list(dict.fromkeys(spreads))))
    trainings = dict.fromkeys(entry["trainings"] for entry in row if entry.get("low") is not None)
    told.append(("in brackets: ", [f"lowest and highest of {count} trainings of the generator" for count in trainings]))
    facts = tuple(f"{title}{' or '.join(values).rstrip('.')}" for title, values in told if values)
    definition = " ".join(_distinct(row, "definition")) or score(name).meaning
    return Meaning(name, score(name).label, definition, facts)


def _missing(scores: Sequence[Scores], by_name: Mapping[str, Sequence[Entry]]) -> list[tuple[str, str]]:
    """Return (names, reason), names with the same reason together; a set is named where others have the value."""
    reasons: dict[str, dict[str, None]] = {}
    for name, row in by_name.items():
        gaps = [(one, entry) for one, entry in zip(scores, row, strict=True) if entry and entry["value"] is None]
        for one, entry in gaps:
            where = "" if len(gaps) == len(scores) else f" of {_name(one)}"
            reasons.setdefault(str(entry.get("reason") or "no reason was recorded"), {})[name + where] = None
    return [(", ".join(names), reason) for reason, names in reasons.items()]
