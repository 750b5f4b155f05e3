"""What the cards of a synthetic set rest on, and their front matter: the keys of the Hugging Face Hub's cards."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# upper bound -> name on the Hub
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
# Terms that name one of the Hub's licences and say nothing else.
WEB_PAGE = re.compile(r"https?://\S+")  # no other address becomes a link
HUB_LICENCE = re.compile(r"CC BY(-NC)?(-SA|-ND)? 4\.0|CC0 1\.0")

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
    near_copies: bool = False  # the method gives images that are close to training images by design


def dataset_front(facts: CardFacts) -> dict[str, Any]:
    """Return the front matter of the data set card."""
    size = next((name for bound, name in SIZES.items() if facts.pairs < bound), "n>1M")
    return {
        "pretty_name": f"Synthetic pairs of {facts.dataset}: {facts.source}, {facts.masks} masks",
        **_licence(facts, "terms-of-the-source"),
        "task_categories": ["image-segmentation"],
        "size_categories": [size],
        "tags": _tags(facts),
    }


def model_front(facts: CardFacts) -> dict[str, Any]:
    """Return the front matter of the model card; a foreign base model has terms of its own."""
    if facts.base.get("kind") == "pretrain":
        return {**_licence(facts, "terms-of-the-source"), "tags": _tags(facts)}
    named = {"base_model": facts.base["name"]} if facts.base_on_hub else {}
    name = "terms-of-the-source-and-of-the-base-model"
    return {"license": "other", "license_name": name, **named, "tags": _tags(facts)}


def _licence(facts: CardFacts, other: str) -> dict[str, str]:
    """Return the licence keys: an identifier of the Hub only where the terms are exactly one of its licences."""
    terms = facts.licence or ""
    if HUB_LICENCE.fullmatch(terms):
        return {"license": terms.lower().replace(" ", "-")}
    link = {"license_link": facts.page} if facts.page and WEB_PAGE.fullmatch(facts.page) else {}
    return {"license": "other", "license_name": other if terms else "not-stated", **link}


def _tags(facts: CardFacts) -> list[str]:
    method = str(facts.generator_row.get("method", ""))
    return [tag for tag in ("synthetic", "image-mask-pairs", method) if tag]
