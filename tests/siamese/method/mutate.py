"""The method's modules with one stop-gradient removed, to show that the tests would notice."""

import ast
import importlib.util
import sys
from types import ModuleType

from tests.contracts.imports import ROOT

MODULES = ("siamese.method.control", "siamese.method.losses", "siamese.method.step")


def _is_stop(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "detach"


def stops() -> list[tuple[str, int]]:
    """Return (module, number) of every .detach() in the method's modules."""
    trees = {name: ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text()) for name in MODULES}
    return [(name, n) for name, tree in trees.items() for n in range(sum(map(_is_stop, ast.walk(tree))))]


class _Remove(ast.NodeTransformer):
    def __init__(self, number: int) -> None:
        self.left = number

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _is_stop(node):
            self.left -= 1
            if self.left == -1:
                return node.func.value  # type: ignore[attr-defined]
        return node


def step_without(module: str, number: int, monkeypatch) -> ModuleType:
    """Return siamese.method.step, loaded anew together with the modules it uses, without that one .detach()."""
    for name in MODULES:
        tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
        if name == module:
            tree = ast.fix_missing_locations(_Remove(number).visit(tree))
        fresh = importlib.util.module_from_spec(importlib.util.find_spec(name))
        monkeypatch.setitem(sys.modules, name, fresh)
        exec(compile(tree, name, "exec"), fresh.__dict__)
    return sys.modules["siamese.method.step"]
