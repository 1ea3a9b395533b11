"""What can be wrong with the meta of nodes: references into other graphs, values of other operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, cast

from torch import fx

from fxpasses.graph.recorded_values import RecordedValues
from fxpasses.graph.state import GraphColumns
from fxpasses.graph.verify.problem import Problem

_WITHOUT_NODES = frozenset(
    {"nn_module_stack", "source_fn_stack", "stack_trace", "torch_fn", "seq_nr", "val", "tensor_meta", "example_value"}
)


def meta_problems(columns: GraphColumns, recorded: RecordedValues | None) -> Iterator[Problem]:
    """Yields what is wrong with the meta of nodes.

    Args:
        columns: The graph.
        recorded: Compares the recorded values; None if the graph is not well formed otherwise.
    """
    if not any(map(_meta_of, columns.nodes)):
        return
    nodes = set(columns.nodes)
    for node in columns.nodes:
        for key, stranger in _strangers(node, nodes):
            text = f"meta[{key!r}] of {node.name!r} refers to {stranger.name!r}, which is not in this graph."
            yield Problem("meta", node, text)
    if recorded is not None:
        for row in columns.rows():
            difference = recorded.difference(row)
            if difference is not None:
                text = f"The value recorded in the meta of {row.name!r} is stale: {difference}."
                yield Problem("stale", row.node, text)


_meta_of = attrgetter("meta")


def _strangers(node: fx.Node, nodes: set[fx.Node]) -> Iterator[tuple[str, fx.Node]]:
    for key, value in node.meta.items():
        if key in _WITHOUT_NODES or isinstance(value, (str, int)):
            continue
        for found in _nodes_in(value):
            if found not in nodes:
                yield key, found


def _nodes_in(value: object) -> Iterator[fx.Node]:
    waiting, seen = [value], set[int]()
    while waiting:
        current = waiting.pop()
        if isinstance(current, fx.Node):
            yield current
        elif isinstance(current, (dict, list, tuple, set, frozenset)) and id(current) not in seen:
            seen.add(id(current))
            waiting.extend(_items(current))


def _items(container: Any) -> Iterable[object]:
    if isinstance(container, dict):
        items = cast("dict[object, object]", container)
        return (*items.keys(), *items.values())
    return cast("Iterable[object]", container)
