"""Evaluates what needs no tensor: a condition on a constant, the children of a module, `len`, `enumerate`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch._jit_internal import is_scripting

from fxpasses.graph.effects.source.memory import Region, Value, item_of, value_of_constant
from fxpasses.graph.effects.source.watched import decided, derived, peek

_LONGEST = 1024
_FOLDABLE = (len, range, enumerate, zip, reversed, tuple, int, float, bool, min, max, abs, sum)
_ITERATES = (range, enumerate, zip, reversed, tuple)
_CHILDREN = ("items", "values", "keys", "children", "named_children")
_MODULE_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
}


def truth_of(value: Value) -> bool | None:
    """Returns whether a value is true, or None if that is not known."""
    if not isinstance(peek(value), bool | int | float | str | bytes | tuple | type(None)):
        return None
    return bool(decided(bool, value))


def fold_comparison(left: Value, comparison: ast.cmpop, right: Value) -> bool | None:
    """Returns the outcome of a comparison of constants, or None if it is not known."""
    compare = _COMPARISONS.get(type(comparison))
    if compare is None or not (left.is_constant and right.is_constant):
        return None
    if not isinstance(comparison, ast.Is | ast.IsNot) and not (_is_number(left) and _is_number(right)):
        return None
    return bool(decided(compare, left, right))


def fold_arithmetic(left: Value, operation: ast.operator, right: Value) -> Value | None:
    """Returns the result of arithmetic on two numbers, or None if they are not known."""
    compute = _ARITHMETIC.get(type(operation))
    if compute is None or not (_is_number(left) and _is_number(right)) or isinstance(peek(left), str):
        return None
    try:
        return derived(compute, left, right)
    except (ArithmeticError, TypeError):
        return None


def _is_number(value: Value) -> bool:
    return isinstance(peek(value), bool | int | float | str)


def fold_call(target: object, args: Sequence[Value], kwargs: Mapping[str, Value]) -> Value | None:
    """Returns the result of a builtin on constants, or None if it is not known."""
    if target is is_scripting:
        return value_of_constant(False)
    if target is isinstance:
        return _fold_isinstance(*args)
    is_foldable = any(target is each for each in _FOLDABLE) and not kwargs
    if not is_foldable or not all(_is_foldable(each) for each in args):
        return None
    try:
        result = cast("Callable[..., Any]", target)(*(each.constant for each in args))
        result = _all_of(result) if any(target is each for each in _ITERATES) else result
    except (TypeError, ValueError):
        return None
    regions = frozenset[Region]().union(*(each.regions for each in args))
    return item_of(Value(regions), result)


def _all_of(items: Iterable[object]) -> tuple[object, ...]:
    found = tuple(item for item, _ in zip(items, range(_LONGEST + 1), strict=False))
    if len(found) > _LONGEST:
        raise ValueError("too many items to look at each")
    return found


def _is_foldable(value: Value) -> bool:
    return isinstance(peek(value), (bool, int, float, tuple, *_MODULE_CONTAINERS))


def _fold_isinstance(value: Value, classes: Value) -> Value | None:
    asked = classes.constant if isinstance(classes.constant, tuple) else (classes.constant,)
    if not all(isinstance(each, type) for each in asked):
        return None
    if value.kind == "tensor" and all(each in (torch.Tensor, list, tuple, dict) for each in asked):
        return value_of_constant(torch.Tensor in asked)
    if value.is_constant:
        return value_of_constant(isinstance(peek(value), cast("tuple[type, ...]", asked)))
    return None


def children_of(owner: Value, method: str) -> Value | None:
    """Returns what `modules.items()`, `module.children()` and the like give, or None for anything else."""
    if method not in _CHILDREN or not isinstance(owner.constant, nn.Module):
        return None
    listing = getattr(nn.ModuleDict if isinstance(owner.constant, nn.ModuleDict) else nn.Module, method, None)
    return None if listing is None else Value(owner.regions, "any", tuple(listing(owner.constant)))


def items_of(value: Value) -> list[Value] | None:
    """Returns the items of a constant in order, or None if they are not known."""
    constant = peek(value)
    if not isinstance(constant, (tuple, *_MODULE_CONTAINERS)) or len(constant) > _LONGEST:
        return None
    children = constant._modules.values() if isinstance(constant, nn.ModuleList | nn.Sequential) else constant
    return [item_of(value, child) for child in children]


def item_at(owner: Value, index: Value) -> Value | None:
    """Returns the item of a constant at a constant place, or None if it is not known."""
    container = peek(owner)
    if isinstance(container, nn.ModuleDict) and isinstance(index.constant, str):
        return item_of(owner, container[index.constant])
    items = items_of(owner)
    if items is None or not isinstance(index.constant, int):
        return None
    return items[index.constant] if -len(items) <= index.constant < len(items) else None
