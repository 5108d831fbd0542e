"""What an attack's name means is known in ``attacks/`` alone: nobody else compares it with a literal."""

import ast

import pytest

from measurebench.attacks.registry import all_attacks
from tests.documentation import Module, modules

OUTSIDE = [m for m in modules() if not m.name.startswith("measurebench.attacks")]
# ``pgd`` is also a kind of examples that measures read, and part of the study's names of measures; ``square`` is also
# a way to cut a picture.
KINDS = {"kind", "examples", "inputs", "preprocessing"}


def _names() -> set[str]:
    return {
        name + ending for name in all_attacks() for ending in ("", "_accuracy", "_accuracy_test", "_accuracy_train")
    }


def _members(side: ast.expr) -> list[ast.expr]:
    """Return what is compared: the expression, or the members of a list; not the column that a subscript names."""
    return list(side.elts) if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]


def _compared(module: Module) -> list[str]:
    """Return comparisons of something that is no kind of examples with an attack's name, as source text."""
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        words = {n.value for side in sides for n in _members(side) if isinstance(n, ast.Constant)}
        others = {n.attr for side in sides for n in ast.walk(side) if isinstance(n, ast.Attribute)}
        others |= {n.id for side in sides for n in ast.walk(side) if isinstance(n, ast.Name)}
        if words & _names() and not others & KINDS:
            found.append(f"{module.name}, line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("module", OUTSIDE, ids=lambda m: m.name)
def test_no_module_outside_compares_an_attack_with_a_literal(module: Module) -> None:
    assert not _compared(module)
