"""Changes to a graph that keep what is known about its nodes.

`Graph.call_function` and its like make nodes without meta. What is made here has the meta of the nodes that it is
made from, and what takes a node's place also has what is known of its value.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from torch import fx

from fxpasses.graph.meta import without_name

_OF_THE_VALUE = ("val", "tensor_meta", "example_value")
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


def carry_meta(old: fx.Node, new: fx.Node, *, same_value: bool) -> None:
    """Gives `new` the meta of `old`, where it has none of its own.

    Args:
        old: The node that `new` is made from.
        new: The node that is changed; its own meta stays.
        same_value: Whether both compute the same value. Otherwise what is known of the value is left out: its
            shape and type, and its qualified name.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> x, add, output = graph_module.graph.nodes
        >>> add.meta.update(stack_trace="here", val="a tensor")
        >>> carry_meta(add, x, same_value=False)
        >>> x.meta
        {'stack_trace': 'here'}
    """
    for key, value in old.meta.items():
        if key in new.meta or (key in _OF_THE_VALUE and not same_value):
            continue
        if key == "custom" and not same_value:
            value = without_name(value)
            if not value:
                continue
        new.meta[key] = value


@contextmanager
def made_like(*nodes: fx.Node) -> Generator[None, None, None]:
    """Gives every node that is made in its block, in whatever way, the meta of `nodes` but for their values.

    Args:
        nodes: What the new nodes are made from; where they differ, the first one counts.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> add = list(graph_module.graph.nodes)[1]
        >>> add.meta["stack_trace"] = "here"
        >>> with made_like(add), graph_module.graph.inserting_after(add):
        ...     new = graph_module.graph.call_function(abs, (add,))
        >>> new.meta
        {'stack_trace': 'here'}
    """
    graph = nodes[0].graph
    create_node = graph.create_node
    patched = graph.__dict__.get("create_node")

    def create_with_meta(*args: Any, **kwargs: Any) -> fx.Node:
        new = create_node(*args, **kwargs)
        for node in nodes:
            carry_meta(node, new, same_value=False)
        return new

    # Every way to make a node goes through this method.
    graph.__dict__["create_node"] = create_with_meta
    try:
        yield
    finally:
        if patched is None:
            del graph.__dict__["create_node"]
        else:
            graph.__dict__["create_node"] = patched


def take_place(new: fx.Node, old: fx.Node) -> None:
    """Lets `new` take the place of `old`: its uses, its meta and its name; `old` is erased.

    `new` may use `old` itself: that use stays no use of its own, so `old` then stays in the graph.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> x, add, output = graph_module.graph.nodes
        >>> with graph_module.graph.inserting_after(add):
        ...     take_place(graph_module.graph.call_function(max, (x, 1)), add)
        >>> [node.name for node in graph_module.graph.nodes]
        ['x', 'max_1', 'output']
    """
    carry_meta(old, new, same_value=True)
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    if not old.users:
        old.graph.erase_node(old)


def replace_call(
    node: fx.Node,
    op: CallOp,
    target: str | Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> fx.Node:
    """Replaces `node` by another call that computes the same value.

    Args:
        node: What is replaced; it is erased.
        op: What kind of call takes its place.
        target: What is called.
        args: Its arguments by position.
        kwargs: Its arguments by keyword.

    Returns:
        The new node, with the meta of the old one.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x.abs())
        >>> x, method, output = graph_module.graph.nodes
        >>> method.meta["stack_trace"] = "here"
        >>> replace_call(method, "call_function", abs, (x,)).meta
        {'stack_trace': 'here'}
    """
    with node.graph.inserting_before(node):
        new = node.graph.create_node(op, target, args, dict(kwargs or {}))
    take_place(new, node)
    return new
