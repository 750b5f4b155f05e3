"""Cards of one synthetic set: what the pairs and their generator are, under which terms, how good, and their limits."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from data.pairs.files import write_text
from evaluation.cards.facts import CardFacts, Row, dataset_front, model_front
from evaluation.results.results import Scores
from evaluation.scores.record import entry
from evaluation.tables.score_section import score_section
from evaluation.tables.text import MISSING, number

HERE = Path(__file__).parent
CARDS = {"DATASET_CARD.md": "dataset_card.md.j2", "MODEL_CARD.md": "model_card.md.j2"}

AUDIT = ("copy_rate", "copy_rate_parent", "copy_rate_other", "closer_to_train", "self_retrieval")
FIDELITY = ("mask_fidelity", "mask_fidelity_real", "mask_fidelity_permuted")
COUNTS = {"n_synthetic": "synthetic", "n_real": "real", "n_floor": "held-out real"}
ENTRY_KEYS = frozenset(entry(None, ""))


class Line(NamedTuple):
    """A score as a card shows it; `more` is what was recorded of this score beside its definition."""

    name: str
    label: str
    value: str
    counts: str
    floor: str
    definition: str
    more: str


class Section(NamedTuple):
    """Scores with a value, and (names, reason) of those without."""

    lines: list[Line]
    missing: list[tuple[str, str]]


def write_cards(folder: Path, facts: CardFacts, scores: Scores) -> None:
    """Write folder/DATASET_CARD.md and folder/MODEL_CARD.md; the same input gives the same bytes.

    Nothing is said that does not follow from the facts and scores, but for general cautions.
    """
    for name, text in render_cards(facts, scores).items():
        write_text(folder / name, text)


def render_cards(facts: CardFacts, scores: Scores) -> dict[str, str]:
    """Return file name -> Markdown of both cards, each with its front matter in YAML."""
    from huggingface_hub import DatasetCardData, ModelCardData
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        finalize=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    heads = {
        "DATASET_CARD.md": DatasetCardData(**dataset_front(facts)),
        "MODEL_CARD.md": ModelCardData(**model_front(facts)),
    }
    values: dict[str, Any] = {
        "facts": facts,
        "rows": {name: settings(value) for name, value in asdict(facts).items() if isinstance(value, dict)},
        "scores": section(scores, lambda name: not is_audit(name)),
        "fidelity": {name: number(scores.metrics.get(name)) for name in FIDELITY},
        "measured": scores.metrics.get("mask_fidelity") is not None,
        "audit": section(scores, is_audit),
        "audit_notes": settings({k: v for k, v in scores.details.items() if is_audit(k) and not _is_entry(v)}),
        "multiples": ", ".join(f"{multiple}x" for multiple in facts.multiples),
        "n_real": scores.metrics.get("n_real"),
        "n_synthetic": scores.metrics.get("n_synthetic"),
        "demo": any(name.startswith("demo_") and value is not None for name, value in scores.metrics.items()),
        "drawn": facts.dataset_row.get("kind") == "phantom",
        "imported": facts.generator_row.get("weights"),
    }
    return {
        name: f"---\n{heads[name].to_yaml()}\n---\n\n{environment.get_template(template).render(values)}"
        for name, template in CARDS.items()
    }


def is_audit(name: str) -> bool:
    """Return whether a score belongs to the copy audit."""
    return name in AUDIT or name.startswith("copy_")


def section(scores: Scores, wanted: Callable[[str], bool]) -> Section:
    """Return the scores whose names are `wanted(name)`, spreads with their scores."""
    mine = replace(
        scores,
        metrics={k: v for k, v in scores.metrics.items() if wanted(k.removesuffix("_sd").removesuffix("_se"))},
        details={k: v for k, v in scores.details.items() if wanted(k)},
    )
    told = score_section(scores.dataset, [mine])
    lines = []
    for meaning, (label, value, floor) in zip(told.meanings, told.values.rows, strict=False):
        row = scores.details.get(meaning.name)
        row = row if isinstance(row, Mapping) else {}
        counts = [f"{row[key]} {title}" for key, title in COUNTS.items() if row.get(key) is not None]
        facts = [fact for fact in meaning.facts if not fact.startswith(("real images", "synthetic images", "held-out"))]
        facts += [f"{_words(key)}: {told_as(row[key])}" for key in sorted(set(row) - ENTRY_KEYS)]
        texts = (label.text, value.text, ", ".join(counts) or MISSING, floor.text)
        lines.append(Line(meaning.name, *texts, meaning.sentence, "; ".join(facts)))
    return Section(lines, told.missing)


def settings(row: Row) -> list[tuple[str, str]]:
    """Return the rows of a table of settings, in the order of the row; what is not set is left out."""
    return [(key, told_as(value)) for key, value in row.items() if value not in (None, "", {}, [], ())]


def told_as(value: object) -> str:
    """Return a value of params.yaml as short text, much as it stands there."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_inner(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inner, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not set" if value is None else str(value)


def _inner(value: object) -> str:
    return f"({told_as(value)})" if isinstance(value, Mapping | list | tuple) else told_as(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _is_entry(value: object) -> bool:
    return isinstance(value, Mapping) and "value" in value


def escape(value: object) -> str:
    """Return text in one line that Markdown shows as it is, also within a table."""
    text = value if isinstance(value, str) else told_as(value)
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", " ".join(text.split()))
