"""Cards of one synthetic set: what the pairs and their generator are, under which terms, how good, and their limits.

Each begins with the keys that the cards of the Hugging Face Hub have.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.results.results import Scores
from evaluation.scores.record import entry
from evaluation.tables.score_section import score_section
from evaluation.tables.text import MISSING, number

if TYPE_CHECKING:
    from jinja2 import Environment

AUDIT = ("copy_", "closer_to_train", "self_retrieval")  # how the names of its measures begin
COUNTS = {"n_synthetic": "synthetic", "n_real": "real", "n_floor": "held-out real"}
COUNT_FACTS = ("real images", "synthetic images", "held-out")  # how the same facts begin among the others
ENTRY_KEYS = frozenset(entry(None, ""))
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}  # upper bound -> the Hub's
WEB_PAGE = re.compile(r"https?://\S+")  # no other address becomes a link
HUB_LICENCE = re.compile(r"CC BY(-NC)?(-SA|-ND)? 4\.0|CC0 1\.0")  # of terms that say nothing else

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CardFacts:
    """What the pipeline knows of one synthetic set, in plain values; rows and sections are those of params.yaml."""

    dataset: str
    dataset_row: Row
    real_pairs: int  # for training
    source: str  # name of the set: its generator, or <generator>-<filter>
    generator: str
    generator_row: Row
    generator_sha256: str | None
    base: Row  # kind, name and sha256 of the base model
    base_on_hub: bool  # whether its name is one of the Hugging Face Hub
    training: Row
    sampling: Row
    masks: str
    mask_row: Row
    pairs: int  # in the set of the smallest multiple
    multiples: tuple[int, ...]
    versions: Mapping[str, str]
    licence: str | None = None  # terms of the source in words, where a row states them
    page: str | None = None
    citation: str | None = None
    filters: Row = field(default_factory=dict)  # what was filtered, with counts; empty where nothing was recorded
    unlabelled: int = 0  # images without masks that base, generator or masks were made with
    near_copies: bool = False  # images are close to real ones by design
    own_masks: bool = False  # the method made the masks with their images


def card_environment(**options: Any) -> "Environment":
    """Return what renders the templates of cards in this folder, where a name that is not given is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        **options,
    )


def render_cards(facts: CardFacts, scores: Scores) -> dict[str, str]:
    """Return file name -> Markdown of DATASET_CARD.md and MODEL_CARD.md, each with its front matter in YAML.

    Nothing is said that does not follow from the facts and scores, but for general cautions.
    """
    from huggingface_hub import DatasetCardData, ModelCardData

    environment = card_environment(finalize=_escape)
    environment.filters |= {"settings": _settings, "number": number}
    audited = {name: row for name, row in scores.details.items() if _is_audit(name)}
    values = {
        "facts": facts,
        "metrics": scores.metrics,
        "scores": _section(scores, lambda name: not _is_audit(name)),
        "audit": _section(scores, _is_audit),
        "audit_notes": {k: v for k, v in audited.items() if not (isinstance(v, Mapping) and "value" in v)},
        "lite0": any(name.startswith("lite0_") and value is not None for name, value in scores.metrics.items()),
    }
    fronts = {
        "DATASET_CARD.md": DatasetCardData(**_dataset_front(facts)),
        "MODEL_CARD.md": ModelCardData(**_model_front(facts)),
    }
    return {
        name: f"---\n{front.to_yaml()}\n---\n\n{environment.get_template(f'{name.lower()}.j2').render(values)}"
        for name, front in fronts.items()
    }


def _is_audit(name: str) -> bool:
    return name.startswith(AUDIT)


def _section(scores: Scores, wanted: Callable[[str], bool]) -> dict[str, Any]:
    """Return `lines`, the scores with a value whose names are `wanted(name)`, and `missing`, (names, reason) of others.

    `more` of a line is what was recorded of this score beside its definition.
    """
    mine = replace(
        scores,
        metrics={k: v for k, v in scores.metrics.items() if wanted(k.removesuffix("_sd").removesuffix("_se"))},
        details={k: v for k, v in scores.details.items() if wanted(k)},
    )
    shown = score_section(scores.dataset, [mine])
    lines = []
    for meaning, (label, value, floor) in zip(shown.meanings, shown.values.rows, strict=False):
        row = scores.details.get(meaning.name)
        row = row if isinstance(row, Mapping) else {}
        counts = [f"{row[key]} {title}" for key, title in COUNTS.items() if row.get(key) is not None]
        facts = [fact for fact in meaning.facts if not fact.startswith(COUNT_FACTS)]
        facts += [f"{key.replace('_', ' ')}: {told_as(row[key])}" for key in sorted(set(row) - ENTRY_KEYS)]
        line = {"name": meaning.name, "label": label.text, "value": value.text, "floor": floor.text}
        more = {"definition": meaning.sentence, "more": "; ".join(facts)}
        lines.append({**line, "counts": ", ".join(counts) or MISSING, **more})
    return {"lines": lines, "missing": shown.missing}


def _settings(row: Row) -> list[tuple[str, str]]:
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


def _escape(value: object) -> str:
    """Return text in one line that Markdown shows as it is, also within a table."""
    text = value if isinstance(value, str) else told_as(value)
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", " ".join(text.split()))


def _dataset_front(facts: CardFacts) -> dict[str, Any]:
    size = next((name for bound, name in SIZES.items() if facts.pairs < bound), "n>1M")
    return {
        "pretty_name": f"Synthetic pairs of {facts.dataset}: {facts.source}, {facts.masks} masks",
        **hub_licence(facts.licence, facts.page, "terms-of-the-source"),
        "task_categories": ["image-segmentation"],
        "size_categories": [size],
        "tags": _tags(facts),
    }


def _model_front(facts: CardFacts) -> dict[str, Any]:
    """Return the front matter of the model card; a foreign base model has terms of its own."""
    if facts.base.get("kind") == "pretrain":
        return {**hub_licence(facts.licence, facts.page, "terms-of-the-source"), "tags": _tags(facts)}
    named = {"base_model": facts.base["name"]} if facts.base_on_hub else {}
    name = "terms-of-the-source-and-of-the-base-model"
    return {"license": "other", "license_name": name, **named, "tags": _tags(facts)}


def hub_licence(licence: str | None, page: str | None, other: str) -> dict[str, str]:
    """Return the licence keys: an identifier of the Hub only where the terms are exactly one of its licences."""
    terms = licence or ""
    if HUB_LICENCE.fullmatch(terms):
        return {"license": terms.lower().replace(" ", "-")}
    link = {"license_link": page} if page and WEB_PAGE.fullmatch(page) else {}
    return {"license": "other", "license_name": other if terms else "not-stated", **link}


def _tags(facts: CardFacts) -> list[str]:
    method = str(facts.generator_row.get("method", ""))
    return [tag for tag in ("synthetic", "image-mask-pairs", method) if tag]
