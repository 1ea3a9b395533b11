"""Reads the source of a function for its effects: what an expression in it may evaluate to."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fxpasses.graph.effects.behaviour import UNKNOWN
from fxpasses.graph.effects.source.calls import Arguments, Calls, Frame, Super
from fxpasses.graph.effects.source.fold import (
    children_of,
    fold_arithmetic,
    fold_comparison,
    item_at,
    items_of,
    truth_of,
)
from fxpasses.graph.effects.source.memory import NUMBER, Region, Unreadable, Value, item_of, join, value_of_constant
from fxpasses.graph.effects.source.watched import derived, peek


class Expressions(Calls):
    """Evaluates expressions; `assign` is left to the half that reads statements."""

    def evaluate(self, frame: Frame, node: ast.expr) -> Value:
        """Returns what an expression may evaluate to."""
        self.step()
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise Unreadable(f"an expression that is not followed: {type(node).__name__}")
        return handler(self, frame, node)

    def assign(self, frame: Frame, target: ast.expr, value: Value) -> None:
        """Gives a value to a name, to each of several, to an attribute or to an item."""
        raise NotImplementedError

    def _site(self, frame: Frame, node: ast.AST) -> object:
        return (frame.site, id(node))

    def constant(self, _frame: Frame, node: ast.Constant) -> Value:
        """A literal."""
        return value_of_constant(node.value)

    def name(self, frame: Frame, node: ast.Name) -> Value:
        """A name: local, of an outer function, global, or built in."""
        if frame.names is not None and node.id in frame.names:
            return frame.names[node.id]
        if node.id in frame.closure:
            return value_of_constant(frame.closure[node.id].cell_contents)
        if node.id in frame.globals:
            return value_of_constant(frame.globals[node.id])
        if hasattr(builtins, node.id):
            return value_of_constant(getattr(builtins, node.id))
        raise Unreadable(f"the name {node.id} is not defined")

    def attribute_of(self, frame: Frame, node: ast.Attribute) -> Value:
        """`owner.name`."""
        owner = self.evaluate(frame, node.value)
        return self.attribute(owner, node.attr, self._site(frame, node), frame.depth)

    def subscript(self, frame: Frame, node: ast.Subscript) -> Value:
        """`owner[index]`."""
        owner = self.evaluate(frame, node.value)
        index = self.evaluate(frame, node.slice)
        known = item_at(owner, index)
        return item_of(owner) if known is None else known

    def slice(self, frame: Frame, node: ast.Slice) -> Value:
        """`start:stop:step`."""
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.evaluate(frame, part)
        return value_of_constant(slice(None))

    def call_of(self, frame: Frame, node: ast.Call) -> Value:
        """A call."""
        site = self._site(frame, node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return self._super(frame)
        if not isinstance(node.func, ast.Attribute):
            callee = self.evaluate(frame, node.func)
            return self.call(callee, self._arguments(frame, node), site, frame.depth)
        owner = self.evaluate(frame, node.func.value)
        arguments = self._arguments(frame, node)
        if owner.is_constant and not isinstance(owner.constant, str | bytes | int | float | tuple | type(None)):
            listed = children_of(owner, node.func.attr)
            if listed is not None:
                return listed
            return self.call(self.attribute(owner, node.func.attr, site, frame.depth), arguments, site, frame.depth)
        return self.call_method(owner, node.func.attr, arguments, site)

    def _super(self, frame: Frame) -> Value:
        owner = (frame.names or {}).get(frame.first_parameter or "")
        if "__class__" not in frame.closure or owner is None:
            raise Unreadable("super() outside of a method")
        return Value(owner.regions, constant=Super(frame.closure["__class__"].cell_contents, owner))

    def _arguments(self, frame: Frame, node: ast.Call) -> Arguments:
        args: list[Value] = []
        kwargs: dict[str, Value] = {}
        spread = False
        for each in node.args:
            value = self.evaluate(frame, each.value if isinstance(each, ast.Starred) else each)
            known = items_of(value) if isinstance(each, ast.Starred) else [value]
            args.extend([item_of(value)] if known is None else known)
            spread |= known is None
        for position, keyword in enumerate(node.keywords):
            value = self.evaluate(frame, keyword.value)
            spread |= keyword.arg is None
            kwargs[keyword.arg or f"**{position}"] = value if keyword.arg else item_of(value)
        return Arguments(tuple(args), kwargs, spread)

    def binary(self, frame: Frame, node: ast.BinOp) -> Value:
        """`left + right` and the like: fresh, unless it may be a concatenation of containers."""
        left, right = self.evaluate(frame, node.left), self.evaluate(frame, node.right)
        folded = fold_arithmetic(left, node.op, right)
        if folded is not None:
            return folded
        return self.arithmetic(left, node.op, right, self._site(frame, node))

    def arithmetic(self, left: Value, operation: ast.operator, right: Value, site: object) -> Value:
        """The result of an operator on values that are not known."""
        kinds = {left.kind, right.kind}
        if kinds == {"none"}:
            return NUMBER
        # A list may be multiplied by a number from anywhere, a set made smaller, and a dict joined with another.
        if "container" not in kinds:
            if "tensor" in kinds:
                return Value(kind="tensor")
            if "numeric" in kinds or not isinstance(operation, ast.Add | ast.Mult | ast.BitOr):
                return Value(kind="numeric")
        regions = left.regions | right.regions | {self.memory.region_at(site)}
        return Value(regions, "container" if "container" in kinds else "any")

    def unary(self, frame: Frame, node: ast.UnaryOp) -> Value:
        """`not value`, `-value` and the like."""
        value = self.evaluate(frame, node.operand)
        if isinstance(node.op, ast.Not):
            truth = truth_of(value)
            return NUMBER if truth is None else value_of_constant(not truth)
        if isinstance(node.op, ast.USub) and isinstance(peek(value), int | float):
            return derived(operator.neg, value)
        # `+tensor` is the tensor itself.
        return value._replace(constant=UNKNOWN) if isinstance(node.op, ast.UAdd) else Value(kind=value.kind)

    def boolean(self, frame: Frame, node: ast.BoolOp) -> Value:
        """`a and b`, `a or b`."""
        possible: list[Value] = []
        for each in node.values:
            value = self.evaluate(frame, each)
            truth = truth_of(value)
            decides = truth is not None and truth == isinstance(node.op, ast.Or)
            if truth is None or decides or each is node.values[-1]:
                possible.append(value)
            if decides:
                break
        return join(possible)

    def compare(self, frame: Frame, node: ast.Compare) -> Value:
        """`left < right` and chains of it."""
        values = [self.evaluate(frame, each) for each in (node.left, *node.comparators)]
        if len(node.ops) == 1:
            outcome = fold_comparison(values[0], node.ops[0], values[1])
            if outcome is not None:
                return value_of_constant(outcome)
        return Value(kind="none" if all(value.kind == "none" for value in values) else "any")

    def choice(self, frame: Frame, node: ast.IfExp) -> Value:
        """`body if test else orelse`."""
        truth = truth_of(self.evaluate(frame, node.test))
        if truth is not None:
            return self.evaluate(frame, node.body if truth else node.orelse)
        return join([self.evaluate(frame, node.body), self.evaluate(frame, node.orelse)])

    def sequence(self, frame: Frame, node: ast.Tuple | ast.List | ast.Set) -> Value:
        """`(a, b)`, `[a, b]` or `{a, b}`."""
        values = [self.evaluate(frame, each) for each in node.elts]
        if isinstance(node, ast.Tuple) and all(value.is_constant for value in values):
            constants = tuple(value.constant for value in values)
            return item_of(Value(frozenset[Region]().union(*(value.regions for value in values))), constants)
        return self._container(join([*values, NUMBER]), self._site(frame, node))

    def mapping(self, frame: Frame, node: ast.Dict) -> Value:
        """`{key: value}`."""
        held = [self.evaluate(frame, each) for each in (*node.keys, *node.values) if each is not None]
        return self._container(join([*held, NUMBER]), self._site(frame, node))

    def starred(self, frame: Frame, node: ast.Starred) -> Value:
        """`*values` inside a list or a tuple."""
        return item_of(self.evaluate(frame, node.value))._replace(kind="any")

    def text(self, frame: Frame, node: ast.JoinedStr) -> Value:
        """A formatted string."""
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.FormattedValue):
                self.evaluate(frame, each.value)
                if isinstance(each.format_spec, ast.JoinedStr):
                    self.text(frame, each.format_spec)
        return NUMBER

    def named(self, frame: Frame, node: ast.NamedExpr) -> Value:
        """`name := value`."""
        value = self.evaluate(frame, node.value)
        self.assign(frame, node.target, value)
        return value

    def comprehension(self, frame: Frame, node: Any) -> Value:
        """A list, set or dict comprehension, or a generator expression."""
        if any(isinstance(each, ast.NamedExpr) for each in ast.walk(node)):
            raise Unreadable("a name that a comprehension gives to what is around it")
        before = dict(frame.names or {})
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        found = [value for _ in self._rounds(frame, list(node.generators)) for value in self._parts(frame, parts)]
        frame.names = before
        return self._container(join([*found, NUMBER]), self._site(frame, node))

    def _parts(self, frame: Frame, parts: list[ast.expr]) -> list[Value]:
        return [self.evaluate(frame, part) for part in parts]

    def _rounds(self, frame: Frame, generators: list[ast.comprehension]) -> Iterator[None]:
        """Goes through the items of nested generators, each known item once, or once for all of them."""
        if not generators:
            yield
            return
        first, *rest = generators
        iterable = self.evaluate(frame, first.iter)
        items = items_of(iterable)
        for item in [item_of(iterable)] if items is None else items:
            self.assign(frame, first.target, item)
            for condition in first.ifs:
                self.evaluate(frame, condition)
            yield from self._rounds(frame, rest)

    def closure(self, frame: Frame, node: ast.expr | ast.FunctionDef) -> Value:
        """A function inside the function: taken to be called at once, with all that it can see, and to do anything."""
        return self.call_unknown(tuple((frame.names or {}).values()), self._site(frame, node))


_HANDLERS: Mapping[type[ast.expr], Callable[[Expressions, Frame, Any], Value]] = {
    ast.Constant: Expressions.constant,
    ast.Name: Expressions.name,
    ast.Attribute: Expressions.attribute_of,
    ast.Subscript: Expressions.subscript,
    ast.Slice: Expressions.slice,
    ast.Call: Expressions.call_of,
    ast.BinOp: Expressions.binary,
    ast.UnaryOp: Expressions.unary,
    ast.BoolOp: Expressions.boolean,
    ast.Compare: Expressions.compare,
    ast.IfExp: Expressions.choice,
    ast.Tuple: Expressions.sequence,
    ast.List: Expressions.sequence,
    ast.Set: Expressions.sequence,
    ast.Dict: Expressions.mapping,
    ast.Starred: Expressions.starred,
    ast.JoinedStr: Expressions.text,
    ast.NamedExpr: Expressions.named,
    ast.ListComp: Expressions.comprehension,
    ast.SetComp: Expressions.comprehension,
    ast.DictComp: Expressions.comprehension,
    ast.GeneratorExp: Expressions.comprehension,
    ast.Lambda: Expressions.closure,
}
