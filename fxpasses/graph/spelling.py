"""Nodes as lines of text, whatever may be wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import fx

from fxpasses.graph.calls import map_structure
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


def spell_calls(first: fx.Node, second: fx.Node) -> tuple[str, str]:
    """Returns what two nodes call, as short as tells them apart: if they call the same, only what they pass differently.

    Other nodes among the arguments are written as `%`.

    Example:
        >>> import torch
        >>> graph = fx.Graph()
        >>> x = graph.placeholder("x")
        >>> nodes = [graph.call_function(torch.dropout, (x, 0.5, training)) for training in (True, False)]
        >>> spell_calls(*nodes)
        ('dropout(…, True)', 'dropout(…, False)')
    """
    ours, theirs = _passed(first), _passed(second)
    same = {key for key in ours.keys() & theirs.keys() if ours[key] == theirs[key]}
    if (first.op, first.target) != (second.op, second.target) or len(same) == len(ours) == len(theirs):
        same = set[str]()
    return _spell_call(first, ours, same), _spell_call(second, theirs, same)


def spell_call(node: fx.Node) -> str:
    """Returns what `node` calls, with other nodes among the arguments written as `%`.

    Example:
        >>> spell_call(fx.symbolic_trace(lambda x: x + 1).graph.output_node().args[0])
        'add(%, 1)'
    """
    return _spell_call(node, _passed(node), set())


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


def _passed(node: fx.Node) -> dict[str, str]:
    """Returns the arguments of `node` as text, by position or keyword."""
    passed = dict([*((str(index), value) for index, value in enumerate(node.args)), *node.kwargs.items()])
    return {key: repr(map_structure(value, _without_node)) for key, value in passed.items()}


def _spell_call(node: fx.Node, passed: Mapping[str, str], same: Collection[str]) -> str:
    if node.op in ("placeholder", "get_attr", "output"):
        return f"{node.op} {node.target}"
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", repr(node.target))
    shown = [value if key.isdigit() else f"{key}={value}" for key, value in passed.items() if key not in same]
    return f"{target}({', '.join(['…', *shown] if same else shown)})"


def _without_node(part: object) -> object:
    return _Name("%") if isinstance(part, fx.Node) else part


class _Name(str):
    """A string that prints without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
