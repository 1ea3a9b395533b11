"""Which nodes of two graphs surely are the same, told without making text of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import fx

_PLAIN = frozenset({int, bool, str, type(None), type(...), torch.dtype, torch.device})
"""Types whose values are equal only if they are written alike; a float is not among them, as 0.0 equals -0.0."""

_SEQUENCES = (tuple, list)


class Alike:
    """Compares nodes of one graph with nodes of another one.

    Args:
        names: How the nodes of the first graph are called.
        other_names: How those of the second one are called; nodes with one name stand for each other.

    Example:
        >>> graph, other = (fx.symbolic_trace(lambda x: x * 2 + x).graph for _ in range(2))
        >>> alike = Alike(*({node: node.name for node in each.nodes} for each in (graph, other)))
        >>> all(map(alike.nodes, graph.nodes, other.nodes))
        True
    """

    def __init__(self, names: Mapping[fx.Node, str], other_names: Mapping[fx.Node, str]) -> None:
        self._names = names
        self._other_names = other_names

    def nodes(self, one: fx.Node, other: fx.Node) -> bool:
        """Whether both nodes surely do the same with the same arguments; False may mean "not known"."""
        return (
            one.op == other.op
            and (one.target is other.target or (isinstance(one.target, str) and one.target == other.target))
            and self._values(one._args, other._args)
            and self._values(one._kwargs, other._kwargs)
        )

    def _values(self, one: Any, other: Any) -> bool:
        if one is other:
            return True
        kind = type(one)
        if kind is not type(other):
            return False
        if kind is fx.Node:
            return self._names[one] == self._other_names[other]
        if kind in _PLAIN:
            return one == other
        if isinstance(one, _SEQUENCES):
            return len(one) == len(other) and all(map(self._values, one, cast("list[Any]", other)))
        if isinstance(one, dict):
            return list(one) == list(other) and all(map(self._values, one.values(), other.values()))
        if kind is slice:
            return self._values((one.start, one.stop, one.step), (other.start, other.stop, other.step))
        return False
