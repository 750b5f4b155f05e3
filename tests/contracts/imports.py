"""First-party imports, read from the source without importing anything."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("data", "siamese", "segmentation", "evaluation", "pipeline")


def module_file(name: str) -> Path | None:
    """Return the file of a first-party module or package, or None."""
    if name.split(".")[0] not in PACKAGES:
        return None
    path = ROOT / Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def direct_imports(path: Path) -> frozenset[Path]:
    """Return the first-party files that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {file for name in names if (file := module_file(name))}
    return frozenset(found)


def all_imports(path: Path) -> set[Path]:
    """Return the file and everything first-party that it imports, directly or not, without empty package files."""
    seen, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo.extend(direct_imports(file))
    return without_empty(seen)


def without_empty(files: Iterable[Path]) -> set[Path]:
    """Return the files without the package files that import nothing."""
    return {file for file in files if file.name != "__init__.py" or direct_imports(file)}
