"""Which nodes compute a Python number, a shape or another immutable value instead of a tensor."""

from __future__ import annotations

import builtins
import math
import operator
from typing import cast

import torch
from torch import fx

_METHODS = frozenset({"size", "dim", "ndimension", "numel", "nelement", "item", "stride", "storage_offset"})
_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "device", "is_cuda", "itemsize", "nbytes"})
_FUNCTIONS = frozenset({builtins.len, builtins.int, builtins.float, builtins.bool, builtins.round})
_MATH = frozenset(each for name, each in vars(math).items() if callable(each) and name not in ("prod", "sumprod"))
_OPERATORS = frozenset(each for name, each in vars(operator).items() if callable(each) and name.strip("_") != "call")


def makes_number(node: fx.Node, known: dict[fx.Node, bool] | None = None) -> bool:
    """Whether `node` surely computes an immutable Python value: a number, a shape, a dtype or a device.

    An answer of False means "not known". The walk follows arithmetic back to where its numbers come from.

    Args:
        node: The node in question.
        known: Earlier answers for nodes of the same graph; the answer for `node` is added.

    Example:
        >>> graph = fx.symbolic_trace(lambda x: x.size(0) * 2 + x).graph
        >>> [makes_number(node) for node in graph.nodes]
        [False, True, True, False, False]
    """
    known = {} if known is None else known
    if node not in known:
        known[node] = _follow(node, known)
    return known[node]


def _follow(node: fx.Node, known: dict[fx.Node, bool]) -> bool:
    waiting, seen = [node], set[fx.Node]()
    while waiting:
        current = waiting.pop()
        if current in seen or known.get(current) or _is_source(current):
            continue
        if current in known:
            return False
        seen.add(current)
        operands = current.all_input_nodes
        if current.target not in _OPERATORS or not operands or _is_mutable(current.args):
            return False
        waiting.extend(operands)
    return True


def _is_mutable(value: object) -> bool:
    """Whether arithmetic on a constant may give a value that can be changed: `[1] * n` is a list."""
    if isinstance(value, tuple):
        return any(map(_is_mutable, cast("tuple[object, ...]", value)))
    return isinstance(value, (list, dict, torch.Tensor))


def _is_source(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in _METHODS
    if node.op != "call_function":
        return False
    if node.target is builtins.getattr:
        return node.args[1] in _ATTRIBUTES
    return node.target in _FUNCTIONS or node.target in _MATH
