"""Copies of values inside of a graph: what a node calls to copy another node's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._jit_internal import is_scripting
from torch.utils import _pytree as pytree

from fxpasses.errors import UnselectableValueError
from fxpasses.graph.edit import insert_after
from fxpasses.graph.effects.behaviour import Kind

_NUMBERS = (bool, int, float, complex, torch.SymInt, torch.SymFloat, torch.SymBool)
_SHARED = (*_NUMBERS, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice, range)


def insert_copy(node: fx.Node, kind: Kind, *, after: fx.Node | None = None) -> fx.Node:
    """Inserts a copy of the value of `node` right after it; autograd works through it, and strides are kept.

    Args:
        node: The node whose value is copied.
        kind: What its value is.
        after: Another node to insert the copy after.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x.chunk(2))
        >>> x, chunk, _ = graph_module.graph.nodes
        >>> insert_copy(chunk, "tensors").target.__name__, insert_copy(x, "tensor").target
        ('clone_each', 'clone')
    """
    place = after or node
    if kind == "tensor":
        return insert_after(place, "call_method", "clone", (node,), like=node)
    function = clone_each if kind == "tensors" else clone_value
    return insert_after(place, "call_function", function, (node,), like=node)


def clone_each(values: list[Tensor]) -> list[Tensor]:
    """Returns clones of some tensors, in a container of the same type."""
    if is_scripting():
        return [value.clone() for value in values]
    return _clone_tensors(values, clone_each)


def clone_value(value: Tensor) -> Tensor:
    """Returns `value`, whatever it is, with each tensor in it cloned; a scripted graph can only pass a tensor."""
    if is_scripting():
        return value.clone()
    return _clone_tensors(value, clone_value)


@torch.jit.unused
def _clone_tensors(value: Any, function: Callable[[Any], Any]) -> Any:
    # A trace of the graph module's code keeps a copy as one node. `torch.fx.wrap` would see to that too, and remember
    # for good every piece of code that calls the function.
    tracer = next((leaf.tracer for leaf in pytree.tree_iter(value) if isinstance(leaf, fx.Proxy)), None)
    if tracer is not None:
        return tracer.create_proxy("call_function", function, (value,), {})
    return pytree.tree_map(_clone_leaf, value)


def _clone_leaf(value: object) -> object:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, _SHARED):
        return value
    if hasattr(value, "clone"):
        return cast("Any", value).clone()
    raise UnselectableValueError(
        f"A value of type {type(value).__name__} is written in place after it was computed, and cannot be copied to keep "
        "it as it was. Ask for the tensors in it, or register the type with torch.utils._pytree."
    )
