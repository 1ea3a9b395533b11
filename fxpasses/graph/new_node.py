"""`new_node`: a node at the end of a graph, for half the price of `Graph.create_node`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import fx

# Assigning to a node also takes it out of its graph's index and puts it back, which arguments do not matter to.
_set_args = cast("Callable[[fx.Node, Any], None]", fx.Node.args.fset)
_set_kwargs = cast("Callable[[fx.Node, Any], None]", fx.Node.kwargs.fset)


def new_node(
    graph: fx.Graph,
    op: str,
    target: Any,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    type_expr: Any = None,
) -> fx.Node:
    """Adds a node as `Graph.create_node` does, whose arguments see for the arguments.

    That one looks through all arguments for symbolic numbers, to warn of them, and takes half of its time for it. Where
    arguments come from another graph, or from a tracer, there is nothing to warn of.

    Example:
        >>> graph = fx.Graph()
        >>> x = new_node(graph, "placeholder", "x")
        >>> node = new_node(graph, "call_function", abs, (x,))
        >>> node, node.args, list(x.users)
        (abs_1, (x,), [abs_1])
    """
    node = graph.create_node(op, target, (), {}, name, type_expr)
    if args:
        _set_args(node, args)
    if kwargs:
        _set_kwargs(node, kwargs)
    return node
