"""The pages as a site: built strictly, so that no link leads nowhere, and read without a network."""

import re
from types import SimpleNamespace

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from docs.site_links import OUTSIDE, on_page_markdown
from tests.contracts.imports import ROOT

LOADED = re.compile(
    r'<(?:script|img|iframe)[^>]*\ssrc="([^"]+)|<link[^>]*rel="(?:stylesheet|preload)"[^>]*href="([^"]+)'
)


@pytest.mark.heavy
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    build(load_config("mkdocs.yml", strict=True, site_dir=str(tmp_path)))  # raises Abort at the first warning
    pages = {path.name: path.read_text() for path in tmp_path.glob("*.html")}
    expected = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    assert expected | {page.replace(".md", ".html") for page in OUTSIDE.values()} <= pages.keys()
    loaded = [address for text in pages.values() for pair in LOADED.findall(text) for address in pair if address]
    assert loaded
    assert not [address for address in loaded if re.match(r"\w+:|//", address)]
    assert "Return the pair set of a folder" in pages["api.html"]
    assert 'href="start.html"' in pages["overview.html"]


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("index.md", "../README.md", "overview.md"),
        ("your-data.md", "../data/README.md#exports", "pair-sets.md#exports"),
        ("overview.md", "docs/start.md", "start.md"),
        ("overview.md", "docs/pairs.png", "pairs.png"),
        ("pair-sets.md", "../docs/methods.md#images-without-a-lesion", "methods.md#images-without-a-lesion"),
        ("start.md", "your-data.md", "your-data.md"),
        ("start.md", "#what-you-see", "#what-you-see"),
        ("start.md", "https://example.org/README.md", "https://example.org/README.md"),
        ("start.md", "../params.yaml", "../params.yaml"),
    ],
)
def test_links_of_a_checkout_become_links_of_the_site(page, link, there):
    found = on_page_markdown(f"see [this]({link}), `[x](y)`", page=SimpleNamespace(file=SimpleNamespace(src_uri=page)))
    assert found.startswith(f"see [this]({there})")
