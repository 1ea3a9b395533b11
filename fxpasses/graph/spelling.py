"""Nodes as lines of text, whatever may be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from fxpasses.graph.state import GraphColumns, NodeRow

_LONGEST = 60


def spell(node: fx.Node) -> str:
    """Returns a line for `node`.

    Example:
        >>> [spell(node) for node in fx.symbolic_trace(lambda x: x + 1).graph.nodes][1]
        'add = call_function[add](x, 1)'
    """
    row = NodeRow(node, node.op, node.name, node.target, node._args, node._kwargs, node.type)
    return spell_row(row, {})


def spell_row(row: NodeRow, names: Mapping[fx.Node, str]) -> str:
    """Returns a line for a node as it was; `names` are those that the nodes had then."""
    target = getattr(row.target, "__name__", None) or str(row.target)
    arguments = [_short(argument, names) for argument in row.args]
    arguments += [f"{name}={_short(argument, names)}" for name, argument in row.kwargs.items()]
    return f"{row.name} = {row.op}[{target}]({', '.join(arguments)})"


def lines_of(columns: GraphColumns) -> list[str]:
    """Returns a line for each node of a recorded graph."""
    names = dict(zip(columns.nodes, columns.name, strict=True))
    return [spell_row(row, names) for row in columns.rows()]


def _short(argument: object, names: Mapping[fx.Node, str]) -> str:
    if isinstance(argument, fx.Node):
        return names.get(argument, argument.name)
    if names:
        argument = fx.map_arg(argument, lambda node: _Name(names.get(node, node.name)))  # pyright: ignore[reportArgumentType] - for printing alone
    text = repr(argument)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


class _Name(str):
    """A string that prints without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
