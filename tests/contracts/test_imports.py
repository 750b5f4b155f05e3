"""Imports run one way down: data <- siamese | segmentation | evaluation <- pipeline."""

import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.contracts.imports import PACKAGES, ROOT, direct_imports, without_empty

ALLOWED = {
    "data": {"data"},
    "siamese": {"data", "siamese"},
    "segmentation": {"data", "segmentation"},
    "evaluation": {"data", "evaluation"},
    "pipeline": set(PACKAGES),
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "processed" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_floor_may(path):
    package = path.relative_to(ROOT).parts[0]
    imported = {file.relative_to(ROOT).parts[0] for file in direct_imports(path)}
    assert imported <= ALLOWED[package]


def test_the_walk_finds_imports_within_functions():
    imported = {file.relative_to(ROOT).as_posix() for file in direct_imports(ROOT / "pipeline/stages/segment.py")}
    assert {"segmentation/training/train.py", "pipeline/params/paths.py"} <= imported


def circles(graph: dict[Path, set[Path]]) -> list[list[str]]:
    """Return the nodes that lie on a circle, each circle once."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [[str(path.relative_to(ROOT)) for path in error.args[1]]]
    return []


def test_no_file_and_no_folder_imports_itself_by_way_of_others():
    files = {path: {*without_empty(direct_imports(path))} - {path} for path in FILES}
    folders: dict[Path, set[Path]] = {}
    for path, imported in files.items():
        folders.setdefault(path.parent, set()).update({file.parent for file in imported} - {path.parent})
    assert circles(files) == []
    assert circles(folders) == []
    assert circles({ROOT / "a": {ROOT / "b"}, ROOT / "b": {ROOT / "a"}}) != []


def test_a_folder_holds_about_a_dozen_files():
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in FILES if path.name != "__init__.py")
    del counts["pipeline/stages"]  # one file a verb
    assert {folder: count for folder, count in counts.items() if count > 14} == {}


@pytest.mark.parametrize("arguments", [["--help"], ["params"], ["generate", "--help"], ["demo", "--help"]])
def test_help_and_params_import_nothing_heavy(arguments):
    code = (
        "import sys; from pipeline.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'segmentation_models_pytorch', 'dvc', 'matplotlib', 'scipy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
