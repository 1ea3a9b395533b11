"""What uses what a statement of a module defines: a constant or a class, wherever it is named in fxpasses."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from planted.forked import ROOT
from planted.places import head


class Use(NamedTuple):
    """A statement that names something.

    Attributes:
        module: The module that it is in.
        lines: Its first and its last line, without what is nested in it.
        defines: The names that it gives to something else, if it runs when the module is imported.
    """

    module: str
    lines: tuple[int, int]
    defines: frozenset[str]


def users(module: str, statement: ast.stmt) -> list[tuple[str, tuple[int, int]]]:
    """Where a statement of a module is, and all that names what it defines, directly or through another constant."""
    found = [(module, (statement.lineno, statement.end_lineno or statement.lineno))]
    waiting = sorted(_defined(statement))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        own = [use for use in _uses().get(name, ()) if use.module == module or not name.startswith("_")]
        found += [(use.module, use.lines) for use in own]
        waiting += [each for use in own for each in use.defines]
    return found


@cache
def importers(module: str) -> list[tuple[str, tuple[int, int]]]:
    """All of the modules that import something from one: they may keep what it defines in tables of their own."""
    found: list[tuple[str, tuple[int, int]]] = []
    for file in sorted(ROOT.glob("fxpasses/**/*.py")):
        text = file.read_text(encoding="utf-8")
        if f"from {module} import" in text:
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found.append((name, (1, text.count("\n") + 1)))
    return found


@cache
def _uses() -> dict[str, list[Use]]:
    found: dict[str, list[Use]] = defaultdict(list)
    for file in sorted(ROOT.glob("fxpasses/**/*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            defines = frozenset() if isinstance(statement, ast.FunctionDef | ast.ClassDef) else _defined(statement)
            for name, lines in _named(statement, head(statement)):
                found[name].append(Use(module, lines, defines))
    return found


def _defined(statement: ast.stmt) -> frozenset[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return frozenset([statement.name])
    if isinstance(statement, ast.Expr):  # `TABLE.update(...)` adds to what exists
        return frozenset(node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return frozenset(target.id for target in targets if isinstance(target, ast.Name))


def _named(node: ast.AST, lines: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every name in a statement, and the lines of the innermost statement that it is in."""
    for child in ast.iter_child_nodes(node):
        inner = head(child) if isinstance(child, ast.stmt) else lines
        if isinstance(child, ast.Name):
            yield child.id, inner
        elif isinstance(child, ast.Attribute):
            yield child.attr, inner
        yield from _named(child, inner)
