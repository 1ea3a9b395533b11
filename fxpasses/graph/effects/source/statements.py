"""Reads the source of a function for its effects: its statements, in order.

Nothing is run. Values stand for "anything that this may be": both branches are taken where a condition is not
known, a loop is gone round until nothing new is learnt, and every function and module that the code calls is
gone into. What is not followed ends with `Unreadable`.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fxpasses.graph.effects.behaviour import NO_CONTAINER, UNKNOWN
from fxpasses.graph.effects.source.calls import Frame, Loop, Names
from fxpasses.graph.effects.source.expressions import Expressions
from fxpasses.graph.effects.source.fold import items_of, truth_of
from fxpasses.graph.effects.source.memory import STATE_REGION, Unreadable, Value, item_of, join, value_of_constant

_ROUNDS = 20
"""A loop learns a region or a name's kind in each round; one that has not settled by then is given up."""


class Reader(Expressions):
    """Reads statements; see the module."""

    def run(self, frame: Frame, body: Sequence[ast.stmt]) -> None:
        """Reads statements until the end, or until the code after one cannot be reached."""
        for statement in body:
            if frame.names is None:
                return
            frame.tries = [merge(names, frame.names) or {} for names in frame.tries]
            self.step()
            handler = _HANDLERS.get(type(statement))
            if handler is None:
                raise Unreadable(f"a statement that is not followed: {type(statement).__name__}")
            handler(self, frame, statement)

    def assign(self, frame: Frame, target: ast.expr, value: Value) -> None:
        """Gives a value to a name, to each of several, to an attribute or to an item."""
        if frame.names is None:
            return
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(frame, target.elts, value)
        elif isinstance(target, ast.Starred):
            self.assign(frame, target.value, value._replace(kind="any", constant=UNKNOWN))
        else:
            self._store_in(frame, target, value)

    def _unpack(self, frame: Frame, targets: Sequence[ast.expr], value: Value) -> None:
        known = items_of(value)
        fits = known is not None and len(known) == len(targets)
        for position, target in enumerate(targets):
            self.assign(frame, target, known[position] if known is not None and fits else item_of(value))

    def _store_in(self, frame: Frame, target: ast.expr, value: Value) -> None:
        """Reads `owner[index] = value` or `owner.name = value`."""
        owner = self._owner(frame, target)
        indexes_tensor = isinstance(target, ast.Subscript) and _indexes_tensor(target.slice)
        if owner.kind == "container" or (owner.kind not in NO_CONTAINER and not indexes_tensor):
            self.memory.store(owner.regions, value.regions)
        if isinstance(target, ast.Attribute):
            self._assign_attribute(owner, target.attr)
        elif isinstance(target, ast.Subscript) and _is_text(target.slice) and owner.kind != "container":
            self.memory.rebuilt |= owner.regions
        elif indexes_tensor or owner.kind != "container":
            self.memory.write(owner)

    def _owner(self, frame: Frame, target: ast.expr) -> Value:
        if isinstance(target, ast.Subscript):
            self.evaluate(frame, target.slice)
        if not isinstance(target, ast.Subscript | ast.Attribute):
            raise Unreadable(f"an assignment that is not followed: {type(target).__name__}")
        return self.evaluate(frame, target.value)

    def _assign_attribute(self, owner: Value, name: str) -> None:
        # From then on the attribute may be anything that was ever stored, not what the object has now.
        self.memory.assigned.add(name)
        if STATE_REGION in owner.regions:
            self.memory.written.add(STATE_REGION)
        elif owner.kind != "container":
            self.memory.rebuilt |= owner.regions

    def assignment(self, frame: Frame, node: ast.Assign) -> None:
        """`target = value`."""
        value = self.evaluate(frame, node.value)
        for target in node.targets:
            self.assign(frame, target, value)

    def annotated(self, frame: Frame, node: ast.AnnAssign) -> None:
        """`target: type = value`."""
        if node.value is not None:
            self.assign(frame, node.target, self.evaluate(frame, node.value))

    def augmented(self, frame: Frame, node: ast.AugAssign) -> None:
        """`target += value` and the like: in place for tensors and lists, a new value for numbers."""
        value = self.evaluate(frame, node.value)
        if isinstance(node.target, ast.Name):
            before = self.evaluate(frame, node.target)
            self.assign(frame, node.target, self._augment(frame, node, before, value))
            return
        owner = self._owner(frame, node.target)
        if isinstance(node.target, ast.Attribute):
            before = self.attribute(owner, node.target.attr, (frame.site, id(node)), frame.depth)
            self._augment(frame, node, before, value)
            self._store_in(frame, node.target, value)
        elif _indexes_tensor(node.target.slice):
            self.memory.write(owner)
        else:
            self._augment(frame, node, item_of(owner), value)

    def _augment(self, frame: Frame, node: ast.AugAssign, before: Value, value: Value) -> Value:
        if before.kind == "none":
            return self.arithmetic(before, node.op, value, (frame.site, id(node)))
        if before.kind not in NO_CONTAINER:
            self.memory.store(before.regions, value.regions)
        if before.kind != "container":
            self.memory.write(before)
        return before._replace(constant=UNKNOWN)

    def expression(self, frame: Frame, node: ast.Expr) -> None:
        """An expression whose value is not used."""
        self.evaluate(frame, node.value)

    def returning(self, frame: Frame, node: ast.Return) -> None:
        """`return value`."""
        frame.returned.append(value_of_constant(None) if node.value is None else self.evaluate(frame, node.value))
        frame.names = None

    def branch(self, frame: Frame, node: ast.If) -> None:
        """`if test: ... else: ...`."""
        truth = truth_of(self.evaluate(frame, node.test))
        if truth is not None:
            self.run(frame, node.body if truth else node.orelse)
            return
        before = dict(frame.names or {})
        self.run(frame, node.body)
        after_body, frame.names = frame.names, before
        self.run(frame, node.orelse)
        frame.names = merge(after_body, frame.names)

    def for_loop(self, frame: Frame, node: ast.For) -> None:
        """`for target in iterable: ...`."""
        iterable = self.evaluate(frame, node.iter)
        items = items_of(iterable)
        loop = Loop()
        frame.loops.append(loop)
        if items is None:
            self._settle(frame, loop, lambda: self._round(frame, node, item_of(iterable)))
        else:
            for item in items:
                self._round(frame, node, item)
                frame.names = merge(frame.names, *loop.continues)
                loop.continues.clear()
        frame.loops.pop()
        self.run(frame, node.orelse)
        frame.names = merge(frame.names, *loop.breaks)

    def _round(self, frame: Frame, node: ast.For, item: Value) -> None:
        self.assign(frame, node.target, item)
        self.run(frame, node.body)

    def while_loop(self, frame: Frame, node: ast.While) -> None:
        """`while test: ...`."""
        loop = Loop()
        frame.loops.append(loop)

        def read_once() -> None:
            self.evaluate(frame, node.test)
            self.run(frame, node.body)

        self._settle(frame, loop, read_once)
        self.evaluate(frame, node.test)
        frame.loops.pop()
        self.run(frame, node.orelse)
        frame.names = merge(frame.names, *loop.breaks)

    def _settle(self, frame: Frame, loop: Loop, read_once: Callable[[], None]) -> None:
        for _ in range(_ROUNDS):
            before, learnt = dict(frame.names or {}), self.memory.size
            read_once()
            frame.names = merge(before, frame.names, *loop.continues)
            if frame.names == before and self.memory.size == learnt:
                return
        raise Unreadable("a loop that does not settle")

    def breaking(self, frame: Frame, _node: ast.Break) -> None:
        """`break`."""
        frame.loops[-1].breaks.append(dict(frame.names or {}))
        frame.names = None

    def continuing(self, frame: Frame, _node: ast.Continue) -> None:
        """`continue`."""
        frame.loops[-1].continues.append(dict(frame.names or {}))
        frame.names = None

    def context(self, frame: Frame, node: ast.With) -> None:
        """`with context as target: ...`."""
        for item in node.items:
            value = self.evaluate(frame, item.context_expr)
            if item.optional_vars is not None:
                self.assign(frame, item.optional_vars, value._replace(kind="any", constant=UNKNOWN))
        self.run(frame, node.body)

    def trying(self, frame: Frame, node: ast.Try) -> None:
        """`try: ... except: ... else: ... finally: ...`: the last two may each start before any statement above them."""
        at_start = dict(frame.names or {})
        frame.tries += [at_start, at_start]  # what ends up in `finally`, and what in a handler
        self.run(frame, node.body)
        before_handlers = frame.tries.pop()
        self.run(frame, node.orelse)
        ends = [frame.names]
        for handler in node.handlers:
            frame.names = dict(before_handlers)
            if handler.name:
                self.assign(frame, ast.Name(handler.name), Value())
            self.run(frame, handler.body)
            ends.append(frame.names)
        anywhere, after = frame.tries.pop(), merge(*ends)
        frame.names = merge(anywhere, after) if node.finalbody else after
        self.run(frame, node.finalbody)
        frame.names = None if after is None else frame.names

    def assertion(self, frame: Frame, node: ast.Assert) -> None:
        """`assert test`."""
        self.evaluate(frame, node.test)

    def raising(self, frame: Frame, _node: ast.Raise) -> None:
        """`raise error`."""
        frame.names = None

    def deleting(self, frame: Frame, node: ast.Delete) -> None:
        """`del target`."""
        for target in node.targets:
            if isinstance(target, ast.Name):
                continue
            owner = self._owner(frame, target)
            if isinstance(target, ast.Attribute):
                self._assign_attribute(owner, target.attr)
            elif owner.kind != "container":
                self.memory.rebuilt |= owner.regions

    def importing(self, frame: Frame, node: ast.Import) -> None:
        """`import module as name`."""
        for alias in node.names:
            path = alias.name if alias.asname else alias.name.partition(".")[0]
            self._import(frame, alias.asname or path, sys.modules.get(path, UNKNOWN))

    def importing_from(self, frame: Frame, node: ast.ImportFrom) -> None:
        """`from module import name`."""
        package = str(frame.globals.get("__package__") or "")
        path = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        module = sys.modules.get(path)
        for alias in node.names:
            self._import(frame, alias.asname or alias.name, getattr(module, alias.name, UNKNOWN))

    def _import(self, frame: Frame, name: str, imported: object) -> None:
        # What is not loaded yet is as unknown as any other object that the function finds outside.
        self.assign(frame, ast.Name(name), value_of_constant(imported))

    def inner_function(self, frame: Frame, node: ast.FunctionDef) -> None:
        """`def name(...): ...` inside the function."""
        self.assign(frame, ast.Name(node.name), self.closure(frame, node))

    def nothing(self, frame: Frame, node: ast.Pass) -> None:
        """`pass`."""


def merge(*possible: Names | None) -> Names | None:
    """Returns what each name may be where several ways meet; None if there is no way."""
    ways = [names for names in possible if names is not None]
    if len(ways) < 2:
        return ways[0] if ways else None
    first, *others = ways
    merged = {
        name: value if all(names.get(name) is value for names in others) else _joined(ways, name)
        for name, value in first.items()
    }
    for names in others:
        merged.update({name: _joined(ways, name) for name in names if name not in merged})
    return merged


def _joined(ways: Sequence[Names], name: str) -> Value:
    return join([names[name] for names in ways if name in names])


def _is_text(index: ast.expr) -> bool:
    """Whether an index is a string, which only dicts take."""
    return isinstance(index, ast.Constant) and isinstance(index.value, str)


def _indexes_tensor(index: ast.expr) -> bool:
    """Whether an index has a form that only tensors take: several places, `...`, or a slice."""
    return isinstance(index, ast.Tuple | ast.Slice) or (isinstance(index, ast.Constant) and index.value is ...)


_HANDLERS: Mapping[type[ast.stmt], Callable[[Reader, Frame, Any], None]] = {
    ast.Assign: Reader.assignment,
    ast.AnnAssign: Reader.annotated,
    ast.AugAssign: Reader.augmented,
    ast.Expr: Reader.expression,
    ast.Return: Reader.returning,
    ast.If: Reader.branch,
    ast.For: Reader.for_loop,
    ast.While: Reader.while_loop,
    ast.Break: Reader.breaking,
    ast.Continue: Reader.continuing,
    ast.With: Reader.context,
    ast.Try: Reader.trying,
    ast.Assert: Reader.assertion,
    ast.Raise: Reader.raising,
    ast.Delete: Reader.deleting,
    ast.Import: Reader.importing,
    ast.ImportFrom: Reader.importing_from,
    ast.FunctionDef: Reader.inner_function,
    ast.Pass: Reader.nothing,
}
