"""What docs/install.md says is what the containers, the Makefile and pyproject.toml do."""

import contextlib
import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import PurePath

import pytest
from packaging.specifiers import SpecifierSet

from tests.contracts.imports import ROOT

PAGE = (ROOT / "docs/install.md").read_text()
DOCKER = (ROOT / "Dockerfile").read_text()
APPTAINER = (ROOT / "apptainer.def").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def installs(text: str) -> list[str]:
    """Return what every pip command of a text installs, with the file that pins it."""
    return re.findall(r"pip install .*?--constraint (\S+ --editable \S+?)[`\s]", text)


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def", "Makefile", "docs/install.md"])
def test_all_install_the_clone_with_the_same_pins(name):
    found = installs((ROOT / name).read_text())
    assert found
    for install in found:
        chosen = re.fullmatch(r'constraints\.txt --editable (?:\.|"\.\[([a-z,]+)\]")', install)
        assert chosen, install
        assert set((chosen[1] or "test").split(",")) <= PROJECT["optional-dependencies"].keys()


def test_every_extra_stands_on_the_page_and_no_other():
    table = PAGE.partition("| extra |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == PROJECT["optional-dependencies"].keys()


def copied() -> dict[str, list[str]]:
    """Return what each recipe takes from the clone."""
    lines = re.findall(r"^COPY (.+) \S+$", DOCKER, re.MULTILINE)
    files = APPTAINER.partition("%files\n")[2].partition("\n\n")[0]
    return {
        "Dockerfile": [name for line in lines for name in line.split()],
        "apptainer.def": [line.split()[0] for line in files.splitlines()],
    }


@pytest.mark.parametrize("recipe", ["Dockerfile", "apptainer.def"])
def test_what_a_recipe_copies_is_there_and_all_that_the_install_reads(recipe):
    names = copied()[recipe]
    assert not [name for name in names if not (ROOT / name).exists()]
    packages = [pattern.rstrip("*") for pattern in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
                ["setuptools"]["packages"]["find"]["include"]]  # fmt: skip
    needed = {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"], *packages}
    assert needed == {PurePath(name).parts[0] for name in names}


def test_nothing_that_the_dockerfile_copies_is_ignored():
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    let_in = {line.removeprefix("!").removesuffix("/**") for line in lines if line.startswith("!")}
    assert let_in == set(copied()["Dockerfile"])


def test_both_recipes_start_from_the_same_system():
    image = re.search(r"^FROM (\S+)$", DOCKER, re.MULTILINE)[1]
    assert f"From: {image}\n" in APPTAINER
    assert re.search(r"python:3\.(\d+)-", image)[1] == PROJECT["requires-python"].removeprefix(">=3.")
    packages = {text: re.search(r"--no-install-recommends ([a-z ]+)", text)[1].split() for text in (DOCKER, APPTAINER)}
    assert packages[DOCKER] == packages[APPTAINER]
    mark = "git config --system --add safe.directory /project"
    assert mark in DOCKER
    assert mark in APPTAINER


def test_the_recipes_say_how_they_are_run_as_the_page_does():
    for text, tool in ((DOCKER, "docker"), (APPTAINER, "apptainer")):
        commands = re.findall(rf"^\W*({tool} (?:build|run|exec) .+)$", text, re.MULTILINE)
        assert len(commands) == 2
        assert all(f"    {command}\n" in PAGE for command in commands)


def test_every_pinned_package_takes_the_first_python_that_the_project_takes():
    first = PROJECT["requires-python"].removeprefix(">=").partition(",")[0] + ".0"
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wanted = {}
    for name in pins:
        with contextlib.suppress(PackageNotFoundError):
            wanted[name] = metadata(name).get("Requires-Python") or ""
    assert len(wanted) > 150
    assert [name for name, python in wanted.items() if first not in SpecifierSet(python)] == []
