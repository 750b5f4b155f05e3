"""The documentation names only what there is: verbs, options, make targets, files, headings, keys of params.yaml."""

import functools
import io
import json
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline.cli import main
from pipeline.params.schema import Params
from tests.contracts.imports import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHIPPED = YAML(typ="safe").load(ROOT / "params.yaml")
SECTIONS = set(Params.model_fields)
KINDS = ("kind", "method", "network")  # keys that make a row another kind of thing
OTHER_BASES = ({"kind": "diffusers", "model": "x"}, {"kind": "single_file", "path": "x"})  # a page may show a part
FOLDERS = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").is_file())

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


NESTED = ("mos",)  # verbs with verbs of their own


@functools.cache
def help_of(*verb: str) -> str:
    """Return what `python -m pipeline VERB --help` prints."""
    text = io.StringIO()
    with redirect_stdout(text), pytest.raises(SystemExit):
        main([*verb, "--help"])
    return text.getvalue()


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every command of ours, under either name, up to the end of its line or code span."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"(?:python -m pipeline|siamese-pairs) ([^`\n]*)", joined)
    return [shlex.split(arguments, comments=True) for arguments in found]


def merged(shipped: Any, shown: Any) -> Any:
    """Return the shipped section with what a page shows in its place; a row that says its kind stands alone."""
    if not isinstance(shipped, dict) or not isinstance(shown, dict) or set(KINDS) & set(shown):
        return shown
    return {**shipped, **{key: merged(shipped.get(key), value) for key, value in shown.items()}}


def shown_params(text: str) -> list[tuple[str, Any]]:
    """Return (section, value) of every section of params.yaml that a page shows as YAML or in a code span."""
    found = []
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        for entry in re.split(r"\n(?=\w)", block.replace(", ...}", "}")):
            found += YAML(typ="safe").load(entry).items()
    for span in re.findall(r"`(\w+)((?:\.\w+)*): ([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        section, keys, value = span
        shown = YAML(typ="safe").load(value)
        for key in reversed(keys.split(".")[1:]):
            shown = {key: shown}
        found.append((section, shown))
    return [(section, shown) for section, shown in found if section in SECTIONS]


def without_placeholders(shown: Any) -> Any:
    """Return what a page shows without names in capitals, which stand for any."""
    if not isinstance(shown, dict):
        return shown
    return {key: without_placeholders(value) for key, value in shown.items() if not str(key).isupper()}


def test_commands_are_there_with_their_options(page):
    for verb, *rest in commands(page.read_text()):
        if verb.isupper() or verb.startswith("-"):
            continue
        assert re.search(rf"^    {verb}\b", help_of(), re.MULTILINE), f"{verb} is no verb"
        options = {argument.split("=")[0] for argument in rest if argument.startswith("--")}
        path = (verb, rest[0]) if verb in NESTED else (verb,)
        missing = [option for option in options if not re.search(rf"{option}\b", help_of(*path))]
        assert not missing, f"{verb} has no {missing}"


def test_make_targets_are_there(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^    |=1 )make (\w+)", page.read_text(), re.MULTILINE)) <= targets


def test_files_that_are_named_are_there(page):
    named = set(re.findall(rf"\b(?:(?:{FOLDERS}|docs|presets)/[\w/.-]+\.(?:md|py|ya?ml|j2))\b", page.read_text()))
    assert not [name for name in named if not (ROOT / name).is_file()]


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+://", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name) if name else page
        assert place.is_file(), target
        assert not anchor or anchor in headings(place), target


def test_params_that_are_shown_are_valid(page):
    for section, shown in shown_params(page.read_text()):
        shown = without_placeholders(shown)
        tries = [merged(SHIPPED.get(section), shown)]
        if section == "base":
            tries += [{**base, **shown} for base in OTHER_BASES]
        errors = []
        for value in tries:
            try:
                Params.model_validate_json(json.dumps({**SHIPPED, section: value}))
            except ValidationError as error:
                errors.append(error)
        assert len(errors) < len(tries), f"{section}: {shown}: {errors[0]}"
