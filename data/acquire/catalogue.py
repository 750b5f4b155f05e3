"""The known data sets, and whose terms a row of params.yaml stands under."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
TERMS = ("licence", "page", "citation")
SOURCES = (Path("data/raw"), Path("data/downloads"))


def read_catalogue() -> dict[str, dict[str, Any]]:
    """Return the rows under `downloads` and `datasets` by name."""
    return YAML(typ="safe").load(CATALOGUE.read_text(encoding="utf-8"))


def terms_of(row: Mapping[str, Any], downloads: Mapping[str, Any]) -> dict[str, str | None]:
    """Return licence, page and citation: as the row states them, else of the download or catalogue row it reads."""
    path = Path(row["path"])
    name = next((part for root in SOURCES if path.is_relative_to(root) for part in path.relative_to(root).parts), "")
    found: dict[str, Any] = {}
    if name in downloads:
        found = downloads[name].model_dump(mode="json")
    elif name:
        found = read_catalogue()["downloads"].get(name, {})
    return {term: row.get(term) or found.get(term) for term in TERMS}
