"""Imports run one way down: data <- siamese | segmentation | evaluation <- pipeline."""

import subprocess
import sys

import pytest

from tests.contracts.imports import PACKAGES, ROOT, direct_imports

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


@pytest.mark.parametrize("arguments", [["--help"], ["params"]])
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
