"""The short name of an operation: what its qualified name ends with."""

from __future__ import annotations

import functools
import operator
import re

import torch
from torch import fx

_ILLEGAL = re.compile(r"[^0-9a-zA-Z_]+")
_CAMEL = re.compile(r"(?<=[a-z])([A-Z])")
_AUGMENTED = {
    function: function.__name__[1:]
    for function in (
        operator.iadd, operator.ifloordiv, operator.ilshift, operator.imatmul, operator.imod, operator.imul,
        operator.ipow, operator.irshift, operator.isub, operator.itruediv, operator.ixor,
    )
} | {operator.iand: "and_", operator.ior: "or_"}  # fmt: skip


def short_name(node: fx.Node) -> str:
    """Returns the name of `node` within its parent, as its target alone determines it.

    It is what `fx.Graph` would name the node if it were the only one: `add` for `operator.add`, the argument's
    own name for a placeholder, the whole path with underscores for a parameter. An augmented assignment is
    called like the plain operator, and an ATen overload like its operator.

    Example:
        >>> graph = fx.symbolic_trace(lambda values: torch.relu(values) + 1).graph
        >>> [short_name(node) for node in graph.nodes]
        ['values', 'relu', 'add', 'output']
    """
    target = node.target
    if node.op == "placeholder":
        return str(target).lstrip("*")
    if node.op in ("get_attr", "call_module"):
        return _identifier(str(target))
    if isinstance(target, str):
        return _identifier(snake_case(_without_magic(target)))
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.split("::")[-1]
    name = _AUGMENTED.get(target) or getattr(target, "__name__", type(target).__name__)
    return _identifier(snake_case(_without_magic(name)))


def _without_magic(name: str) -> str:
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


@functools.lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """Returns `name` in lower case with underscores, as `fx.Graph` does with what it names nodes by.

    Example:
        >>> snake_case("attentionBias")
        'attention_bias'
    """
    return _CAMEL.sub(r"_\1", name).lower()


@functools.lru_cache(maxsize=4096)
def _identifier(text: str) -> str:
    name = _ILLEGAL.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name
