"""The changes that are tried of a module: one thing each, such as a comparison, a constant or a statement."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from planted.forked import source_of
from planted.places import Place, places

_COMPARISONS = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        name: The pass, or the module with its package.
        what: What stands there, and what is put there.
        part: The statement of the module that holds the change, as it then reads.
        tree: The module as it is; the changes of a module share it.
        place: Where the change is.
        new: What is put there; None for nothing at all.
    """

    name: str
    what: str
    part: str
    tree: ast.Module
    place: Place
    new: ast.AST | None

    @property
    def key(self) -> str:
        """What identifies the change; another one once the function or class that it is in changes."""
        return hashlib.sha256(f"{self.name}\n{self.part}".encode()).hexdigest()[:12]

    @property
    def module(self) -> str:
        """The module's full name."""
        return module_of(self.name)

    @property
    def line(self) -> int:
        """Where the change is; 0 for parts of a comprehension, which have no line of their own."""
        return getattr(self.place.node, "lineno", 0)

    def code(self) -> CodeType:
        """Compiles the module with the change; every line stays where it is."""
        self.place.put(self.new)
        try:
            return compile(self.tree, str(source_of(self.module)), "exec", dont_inherit=True)
        finally:
            self.place.put(self.place.node)


def module_of(name: str) -> str:
    """The module that a name means: a pass, or one that is named with its package."""
    return f"fxpasses.{name}" if "." in name else f"fxpasses.passes.{name}"


def names_in(package: str) -> list[str]:
    """The names of a package's modules; those of passes go without their package."""
    folder = source_of("fxpasses").with_suffix("") / package
    found = [".".join(file.relative_to(folder.parent).with_suffix("").parts) for file in sorted(folder.rglob("*.py"))]
    return [name.removeprefix("passes.") for name in found if not name.endswith("__init__")]


def mutants_of(name: str) -> list[Mutant]:
    """Every change of a pass or module."""
    tree = ast.parse(Path(source_of(module_of(name))).read_text(encoding="utf-8"))
    found: list[Mutant] = []
    for place in places(tree):
        for new in list(changes(place.node)):
            before = ast.unparse(place.node).split("\n")[0]
            after = "nothing" if new is None else ast.unparse(new).split("\n")[0]
            place.put(new)
            part = ast.unparse(tree.body[place.top])
            place.put(place.node)
            found.append(Mutant(name, f"{before[:80]} → {after[:80]}", part, tree, place, new))
    return found


def changes(node: ast.AST) -> Iterator[ast.AST | None]:  # noqa: C901 - one branch a kind of node
    """What may stand in a node's place; None for nothing at all."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield ast.Compare(node.left, [_COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for index in range(len(node.values)):
            rest = [value for place, value in enumerate(node.values) if place != index]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, (ast.If, ast.While)):
        yield (
            type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse) if isinstance(node, ast.If) else None
        )
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield ast.comprehension(node.target, node.iter, node.ifs[1:], node.is_async)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Expr, ast.AugAssign, ast.Delete)) or (isinstance(node, ast.Assign) and _is_place(node)):
        yield None
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("reversed", "sorted"):
        yield ast.Call(ast.Name("list", ast.Load()), node.args[:1], [])


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_place(node: ast.Assign) -> bool:
    """Whether an assignment changes something that exists; one of a new name would be missed at once."""
    return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)


def _constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f"{value}_")
