"""The places of a module that may be changed: what runs, but for texts and types."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

_TYPES = ("annotation", "returns", "decorator_list", "bases", "type_params")
# What they are called by is shown, or read by type checkers, and nothing else.
_NAMED_BY_TEXT = ("TypeVar", "ParamSpec", "NewType", "ContextVar")
_FOR_READERS = ("__all__", "__slots__")
_MESSAGE = re.compile(r"(warn|Error|Warning)$")


@dataclass(frozen=True)
class Place:
    """A node, and where it hangs.

    Attributes:
        node: The node.
        holder: The node that holds it.
        field: In which field.
        index: Where in the field, if that is a list.
        top: Which statement of the module it is in.
        lines: The first and the last line of the innermost statement that it is in, without what is nested in that.
        in_function: Whether it runs when a function is called, rather than when the module is imported.
    """

    node: ast.AST
    holder: ast.AST
    field: str
    index: int | None
    top: int
    lines: tuple[int, int]
    in_function: bool

    def put(self, new: ast.AST | None) -> None:
        """Puts a node here, or nothing at all."""
        if new is None:
            new = ast.Pass() if self.index is not None else None
        if new is not None and not hasattr(new, "lineno"):
            ast.fix_missing_locations(ast.copy_location(new, self.node))
        if self.index is None:
            setattr(self.holder, self.field, new)
        else:
            getattr(self.holder, self.field)[self.index] = new


def places(tree: ast.Module) -> Iterator[Place]:
    """The places of a module, statement after statement."""
    for top, statement in enumerate(tree.body):
        waiting = [Place(statement, tree, "body", top, top, head(statement), False)]
        while waiting:
            place = waiting.pop(0)
            if not _is_idle(place):
                yield place
                waiting += _below(place)


def _below(place: Place) -> Iterator[Place]:
    node = place.node
    if isinstance(node, (ast.Raise, ast.JoinedStr)):
        return  # the texts of messages
    for field, value in ast.iter_fields(node):
        if field in _TYPES:
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                at = index if isinstance(value, list) else None
                yield _child(place, child, field, at)


def _child(place: Place, child: ast.AST, field: str, index: int | None) -> Place:
    begins_function = isinstance(place.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and field == "body"
    found = replace(
        place, node=child, holder=place.node, field=field, index=index, in_function=place.in_function or begins_function
    )
    has_lines = isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case))
    return replace(found, lines=head(child)) if has_lines else found


def head(node: Any) -> tuple[int, int]:
    """The first and the last line of a statement, without those of the statements in it."""
    first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
    body = getattr(node, "body", None)
    if not body:
        return first, node.end_lineno
    return first, max(first, body[0].lineno - 1)


def _is_idle(place: Place) -> bool:
    """Whether nothing that a program does depends on what is here."""
    node, holder = place.node, place.holder
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # documentation
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return _is_for_readers(node) or (place.holder.__class__ is ast.Module and _is_type(node))
    if isinstance(holder, ast.Assert):
        return place.field == "msg"
    return isinstance(holder, ast.Call) and _is_idle_argument(holder, place)


def _is_for_readers(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id in _FOR_READERS for target in targets)


def _is_type(node: ast.Assign | ast.AnnAssign) -> bool:
    """Whether a statement of a module gives a name to a type, as `Key = int | str` does."""
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias"
    (target,) = node.targets[:1]
    named_as_type = isinstance(target, ast.Name) and re.match(r"_?[A-Z][a-z]", target.id) is not None
    return named_as_type and isinstance(node.value, (ast.Subscript, ast.BinOp))


def _is_idle_argument(call: ast.Call, place: Place) -> bool:
    """Whether an argument is a type or the text of a message."""
    called = ast.unparse(call.func).rpartition(".")[2]
    first = place.field == "args" and place.index == 0
    if called == "cast":
        return first
    if called in _NAMED_BY_TEXT:
        return place.field == "keywords" or isinstance(place.node, ast.Constant)
    is_text = isinstance(place.node, ast.Constant) and isinstance(place.node.value, str)
    return is_text and place.field == "args" and _MESSAGE.search(called) is not None
