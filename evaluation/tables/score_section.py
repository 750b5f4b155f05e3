"""The part of the report that says what each score is, on how many images, and why one is missing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evaluation.results.results import Run, Scores
from evaluation.scores.glossary import by_importance, score
from evaluation.tables.text import ARROWS, MISSING, PLUS_MINUS, Cell, TextTable, number

SPREADS = ("_sd", "_se")
COUNTS = {"n_real": "Real images", "n_synthetic": "Synthetic images"}
FACTS = {
    "backbone": "features",
    "weights": "weights",
    "seeds": "seeds",
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
    demo: bool


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
    """Return what the report says about the scores of one data set; `scores` are those of its synthetic sets."""
    entries = [_entries(one) for one in scores]
    names = by_importance(set().union(*entries))
    shown = [name for name in names if any(one.get(name, {}).get("value") is not None for one in entries)]
    rows = []
    for name in shown:
        floors = [floor for one in entries if (floor := _number(one.get(name, {}).get("floor"))) is not None]
        texts = [score(name).label + ARROWS[score(name).better], *(_value(one.get(name, {})) for one in entries)]
        rows.append([Cell(text) for text in [*texts, " or ".join(dict.fromkeys(map(number, floors))) or MISSING]])
    for name, title in COUNTS.items():
        counts = [one.metrics.get(name) for one in scores]
        rows.append([Cell(title), *(Cell(MISSING if n is None else f"{n:.0f}") for n in counts), Cell("")])
    columns = ["Score", *(f"{one.source}, {one.masks} masks" for one in scores), "Floor"]
    return ScoreSection(
        dataset,
        values=TextTable([], columns, rows),
        meanings=[_meaning(name, entries) for name in shown],
        missing=_missing(scores, entries, names),
        demo=any(name.startswith("demo_") for name in shown),
    )


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


def _distinct(entries: Sequence[Mapping[str, Entry]], name: str, fact: str) -> list[str]:
    """Return what the sets recorded of one fact about one score, each once, as text."""
    found = [one[name].get(fact) for one in entries if name in one]
    told = [", ".join(map(str, value)) if isinstance(value, list) else str(value) for value in found if value]
    return list(dict.fromkeys(told))


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _spread(entry: Entry) -> tuple[float, str] | None:
    """Return what stands behind the sign and what it is: over seeds if there are, else the standard error if known."""
    sd, se = _number(entry.get("sd")), _number(entry.get("se"))
    if sd is not None and entry.get("seeds"):
        return sd, "standard deviation over seeds"
    if se is not None:
        return se, "standard error"
    return None if sd is None else (sd, "standard deviation")


def _value(entry: Entry) -> str:
    value, spread = _number(entry.get("value")), _spread(entry)
    return number(value) if value is None or spread is None else f"{number(value)} {PLUS_MINUS} {number(spread[0])}"


def _meaning(name: str, entries: Sequence[Mapping[str, Entry]]) -> Meaning:
    told = [(f"{title}: " if title else "", _distinct(entries, name, fact)) for fact, title in FACTS.items()]
    spreads = [spread[1] for one in entries if name in one and (spread := _spread(one[name]))]
    told.append((f"{PLUS_MINUS}: ", list(dict.fromkeys(spreads))))
    facts = tuple(f"{title}{' or '.join(values).rstrip('.')}" for title, values in told if values)
    definition = " ".join(_distinct(entries, name, "definition")) or score(name).meaning
    return Meaning(name, score(name).label, definition, facts)


def _missing(
    scores: Sequence[Scores], entries: Sequence[Mapping[str, Entry]], names: Sequence[str]
) -> list[tuple[str, str]]:
    """Return (names, reason), names with the same reason together; a set is named where others have the value."""
    reasons: dict[str, dict[str, None]] = {}
    for name in names:
        rows = [(one, found[name]) for one, found in zip(scores, entries, strict=True) if name in found]
        gaps = [(one, row) for one, row in rows if row["value"] is None]
        for one, row in gaps:
            where = "" if len(gaps) == len(scores) else f" of {one.source}, {one.masks} masks"
            reasons.setdefault(str(row.get("reason") or "no reason was recorded"), {})[name + where] = None
    return [(", ".join(told), reason) for reason, told in reasons.items()]
