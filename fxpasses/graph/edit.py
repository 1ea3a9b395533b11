"""Changes to a graph that keep what is known about its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import fx

CallOp = Literal["call_function", "call_method", "call_module"]


def insert_after(
    node: fx.Node,
    op: CallOp,
    target: str | Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    like: fx.Node | None = None,
) -> fx.Node:
    """Inserts a call right after `node`; after the last placeholder if `node` is one.

    Args:
        node: Where to insert.
        op: What kind of call it is.
        target: What is called.
        args: Its arguments by position.
        kwargs: Its arguments by keyword.
        like: The node whose meta the new one gets, and whose name its own is made from; `node` if not given.

    Returns:
        The new node.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x, y: x + y)
        >>> x, y, add, output = graph_module.graph.nodes
        >>> insert_after(x, "call_method", "clone", (x,)).name
        'x_clone'
        >>> [each.name for each in graph_module.graph.nodes]
        ['x', 'y', 'x_clone', 'add', 'output']
    """
    source = like or node
    called = target if isinstance(target, str) else str(getattr(target, "__name__", "call"))
    while node.op == "placeholder" and node.next.op == "placeholder":
        node = node.next
    with node.graph.inserting_after(node):
        new = node.graph.create_node(op, target, args, dict(kwargs or {}), name=f"{source.name}_{called}")
    # The dictionaries inside are shared with the source: they are replaced, never written into.
    new.meta = dict(source.meta)
    return new
