"""What can be wrong with the arguments of nodes: nodes hidden where no graph sees them, or seen where none are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import torch
from torch import fx

from fxpasses.graph.state import GraphColumns
from fxpasses.graph.verify.problem import Problem

_FLAT = frozenset({fx.Node, str, int, float, bool, complex, type(None), torch.dtype, torch.device, torch.Tensor})


def argument_structure_problems(columns: GraphColumns) -> Iterator[Problem]:
    """Yields nodes that a container hides from the graph, and uses that the graph lists but no argument holds."""
    for node, args, kwargs in zip(columns.nodes, columns.args, columns.kwargs, strict=True):
        if _FLAT.issuperset(map(type, args)) and not kwargs:
            visible = {argument for argument in args if type(argument) is fx.Node}
        else:
            visible = set[fx.Node]()
            for hidden in _walk((*args, *kwargs.values()), visible):
                text = f"{node.name!r} holds {hidden.name!r} inside a container that a graph does not look into."
                yield Problem("hidden", node, text + " Use a tuple, a list or a dict's values.")
        if visible != node._input_nodes.keys():
            text = f"The arguments of {node.name!r} are not what the graph has on record: they were set past it."
            yield Problem("uses", node, text + " Assign to node.args or node.kwargs.")


def _walk(arguments: Iterable[object], visible: set[fx.Node]) -> Iterator[fx.Node]:
    """Enters the nodes that a graph sees into `visible`, and yields those that it does not see."""
    waiting = [(argument, False) for argument in arguments]
    while waiting:
        value, is_hidden = waiting.pop()
        if isinstance(value, fx.Node):
            if is_hidden:
                yield value
            else:
                visible.add(value)
        elif type(value) not in _FLAT:
            seen, unseen = _parts(value)
            waiting.extend((part, is_hidden) for part in seen)
            waiting.extend((part, True) for part in unseen)


def _parts(value: Any) -> tuple[Iterable[object], Iterable[object]]:
    """Returns what a container holds: where a graph looks, and where it does not."""
    if isinstance(value, (tuple, list)):
        return cast("list[object]", value), ()
    if isinstance(value, dict):
        return cast("dict[object, object]", value).values(), cast("dict[object, object]", value).keys()
    if isinstance(value, slice):
        return (value.start, value.stop, value.step), ()
    if isinstance(value, (set, frozenset, deque)):
        return (), cast("set[object]", value)
    if isinstance(value, Mapping):
        return (), (*cast("Mapping[object, object]", value).values(), *cast("Mapping[object, object]", value))
    if is_dataclass(value):
        return (), [getattr(value, each.name, None) for each in fields(value)]
    return (), ()
