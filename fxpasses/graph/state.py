"""`GraphState`: what a graph module looked like at one moment, cheap enough to be taken after every pass.

A state keeps references, not copies: the arguments of a node are immutable, so that an edit always shows
as another object. Comparing two moments therefore costs a few nanoseconds a node as long as nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any, NamedTuple, cast

import torch
from torch import fx, nn

from fxpasses.graph.module_tree import ModuleTree

FIELDS = ("op", "name", "target", "args", "kwargs", "type")
"""What makes up a node, besides its place and its meta."""

_getters: tuple[Callable[[fx.Node], Any], ...] = tuple(
    attrgetter(field) for field in ("op", "name", "target", "_args", "_kwargs", "type")
)


class GraphColumns(NamedTuple):
    """The nodes of one graph in order, and one list a field, aligned with them."""

    graph: fx.Graph
    codegen: object
    nodes: list[fx.Node]
    op: list[str]
    name: list[str]
    target: list[Any]
    args: list[tuple[Any, ...]]
    kwargs: list[dict[str, Any]]
    type: list[Any]

    @classmethod
    def of(cls, graph: fx.Graph) -> GraphColumns:
        """Reads every node of `graph` once."""
        nodes = list(graph.nodes)
        return cls(graph, graph._codegen, nodes, *(list(map(getter, nodes)) for getter in _getters))

    def still_hold(self) -> bool:
        """Whether no node was added, removed, moved or edited since; False may also mean set to an equal value."""
        nodes = list(self.graph.nodes)
        return (
            nodes == self.nodes
            and self.graph._codegen is self.codegen
            and all(
                all(map(is_, column, map(getter, nodes))) for column, getter in zip(self.fields, _getters, strict=True)
            )
        )

    @property
    def fields(self) -> tuple[list[Any], ...]:
        """One list a field, in the order of `FIELDS`."""
        return self[3:]

    def row(self, index: int) -> NodeRow:
        """Returns one node with its fields as they were."""
        return NodeRow(self.nodes[index], *(column[index] for column in self.fields))

    def rows(self) -> Iterator[NodeRow]:
        """Yields each node with its fields as they were."""
        return map(NodeRow._make, zip(*self[2:], strict=True))

    def rebuild(self) -> fx.Graph:
        """Returns a new graph with these nodes, malformed where these are; meta is shared."""
        graph = fx.Graph()
        graph._codegen = cast("Any", self.codegen)
        copies = {
            node: graph.create_node("placeholder", name) for node, name in zip(self.nodes, self.name, strict=True)
        }
        for row in self.rows():
            copy = copies[row.node]
            for field in ("op", "name", "target", "type"):
                setattr(copy, field, getattr(row, field))
            copy.meta = dict(row.node.meta)
            copy.args = fx.map_arg(row.args, lambda node: copies.get(node) or _stand_in(node))
            copy.kwargs = fx.map_arg(row.kwargs, lambda node: copies.get(node) or _stand_in(node))
        return graph


class NodeRow(NamedTuple):
    """One node, and its fields at the moment of the state."""

    node: fx.Node
    op: str
    name: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    type: Any


@dataclass(frozen=True)
class GraphState:
    """The structure of a graph module, and of the graph modules below it, at one moment.

    Attributes:
        graph_module: Whose state it is.
        graphs: Its own graph first, then those of the graph modules inside, by their path.
        held: The modules, parameters and buffers.
        writes: What tells a write into each of the tensors among them.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x + 1)
        >>> state = GraphState.of(graph_module)
        >>> state.still_holds()
        True
        >>> graph_module.graph.output_node().args = (None,)
        >>> state.still_holds()
        False
    """

    graph_module: fx.GraphModule
    graphs: dict[str, GraphColumns]
    held: list[object]
    writes: list[tuple[int, ...]]

    @classmethod
    def of(cls, graph_module: fx.GraphModule) -> GraphState:
        """Records the state of `graph_module`, in linear time."""
        modules = ModuleTree.of(graph_module).paths
        graphs = {
            path: GraphColumns.of(each.graph) for each, path in modules.items() if isinstance(each, fx.GraphModule)
        }
        held = _held_by(modules)
        return cls(graph_module, graphs, held, _writes_into(held))

    @property
    def columns(self) -> GraphColumns:
        """The graph module's own graph."""
        return self.graphs[""]

    def still_holds(self) -> bool:
        """Whether nothing changed since; False may also mean that something was set to an equal value."""
        if self.graph_module.graph is not self.columns.graph or not self.columns.still_hold():
            return False  # as after most passes that change something
        modules = ModuleTree.of(self.graph_module).paths
        graphs = {path: each.graph for each, path in modules.items() if isinstance(each, fx.GraphModule)}
        held = _held_by(modules)
        return (
            graphs.keys() == self.graphs.keys()
            and all(
                graphs[path] is columns.graph and columns.still_hold() for path, columns in self.graphs.items() if path
            )
            and _identical(held, self.held)
            and _writes_into(held) == self.writes
        )

    def holds_same_tensors(self, other: GraphState) -> bool:
        """Whether both states hold the very same modules, parameters and buffers, with nothing written between."""
        return _identical(self.held, other.held) and self.writes == other.writes


def _stand_in(stranger: fx.Node) -> fx.Node:
    """Makes a node like one that is used but not in the graph; using the real one would enter it in its `users`."""
    return fx.Node(fx.Graph(), stranger.name, "placeholder", stranger.name, (), {})


def _held_by(modules: Iterable[nn.Module]) -> list[object]:
    held: list[object] = []
    for module in modules:
        held.append(module)
        if module._parameters:
            held.extend(module._parameters.values())
        if module._buffers:
            held.extend(module._buffers.values())
    return held


def _identical(first: list[object], second: list[object]) -> bool:
    return len(first) == len(second) and all(map(is_, first, second))


def _writes_into(held: Iterable[object]) -> list[tuple[int, ...]]:
    tensors = [each for each in held if isinstance(each, torch.Tensor)]
    try:
        return [(tensor._version, tensor.data_ptr()) for tensor in tensors]
    except RuntimeError:
        return [_writes(tensor) for tensor in tensors]


def _writes(tensor: torch.Tensor) -> tuple[int, ...]:
    try:
        return (tensor._version, tensor.data_ptr())
    except RuntimeError:  # an inference tensor has no counter, a fake one no memory
        return ()
