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
    key = next((path.relative_to(root).parts[:1] for root in SOURCES if path.is_relative_to(root)), ())
    found: dict[str, Any] = {}
    for name in key:
        found = (
            downloads[name].model_dump(mode="json")
            if name in downloads
            else read_catalogue()["downloads"].get(name, {})
        )
    return {term: row.get(term) or found.get(term) for term in TERMS}
