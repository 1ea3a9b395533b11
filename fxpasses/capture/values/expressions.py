"""Writes the value of a node as the Python expression that it was computed by, for people to read."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

_INFIX: dict[Any, str] = {
    operator.add: "+",
    operator.and_: "&",
    operator.eq: "==",
    operator.floordiv: "//",
    operator.ge: ">=",
    operator.gt: ">",
    operator.le: "<=",
    operator.lt: "<",
    operator.matmul: "@",
    operator.mod: "%",
    operator.mul: "*",
    operator.ne: "!=",
    operator.or_: "|",
    operator.pow: "**",
    operator.sub: "-",
    operator.truediv: "/",
}
_PREFIX: dict[Any, str] = {operator.invert: "~", operator.neg: "-", operator.not_: "not "}
COMPARISONS = frozenset({operator.eq, operator.ge, operator.gt, operator.le, operator.lt, operator.ne})
_NUMBER_METHODS = frozenset({"dim", "numel", "size", "stride"})
_LONGEST = 100


def expression(node: fx.Node) -> str:
    """Returns the expression of a number or a shape, down to arguments, modules and operations on tensors.

    Example:
        >>> graph = fx.symbolic_trace(lambda x: x.shape[2] % 7 == 0).graph
        >>> expression(list(graph.nodes)[-2])
        'x.shape[2] % 7 == 0'
    """
    text = _written(node, 0)
    return text if len(text) <= _LONGEST else node.name


def _written(value: Any, depth: int) -> str:
    if not isinstance(value, fx.Node):
        return repr(value)
    if value.op in ("placeholder", "get_attr", "call_module"):
        return str(value.target)
    if depth > 12:
        return value.name
    if value.op == "call_method":
        return _method(value, depth)
    if value.target is getattr:
        return f"{_written(value.args[0], depth + 1)}.{value.args[1]}"
    if value.target is operator.getitem:
        return f"{_written(value.args[0], depth + 1)}[{_written(value.args[1], depth + 1)}]"
    if value.target in _INFIX and len(value.args) == 2:
        left, right = (_operand(each, depth + 1) for each in value.args)
        return f"{left} {_INFIX[value.target]} {right}"
    if value.target in _PREFIX and len(value.args) == 1:
        return f"{_PREFIX[value.target]}{_operand(value.args[0], depth + 1)}"
    if getattr(value.target, "__module__", "") in ("math", "builtins"):
        return f"{getattr(value.target, '__name__', value.name)}({', '.join(_written(each, depth + 1) for each in value.args)})"
    return value.name


def _method(node: fx.Node, depth: int) -> str:
    if node.target not in _NUMBER_METHODS:
        return node.name
    rest = ", ".join(_written(each, depth + 1) for each in node.args[1:])
    return f"{_written(node.args[0], depth + 1)}.{node.target}({rest})"


def _operand(value: Any, depth: int) -> str:
    text = _written(value, depth)
    nested = isinstance(value, fx.Node) and value.op == "call_function" and value.target in _INFIX
    return f"({text})" if nested and _INFIX[value.target] not in ("%", "*", "//") else text
