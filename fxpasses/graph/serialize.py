"""Graphs as flat data: what pickling and copying need, without recursion over the graph's depth."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import fx
from torch.fx.node import map_arg

from fxpasses.graph.calls import NodeRef, map_structure, with_nodes
from fxpasses.graph.new_node import new_node

_PICKLED_META = ("custom", "is_wrapped", "nn_module_stack", "source_fn_stack", "stack_trace", "torch_fn")


class Operator(NamedTuple):
    """An operator of `torch.ops` by its name, since itself it cannot be pickled.

    Attributes:
        path: Namespace, name and overload; no overload for an operator with all of its overloads.

    Example:
        >>> Operator.instead_of(torch.ops.aten.relu.default)
        Operator(path=('aten', 'relu', 'default'))
        >>> Operator(("aten", "relu", "default")).found() is torch.ops.aten.relu.default
        True
    """

    path: tuple[str, ...]

    @classmethod
    def instead_of(cls, target: Any) -> Any:
        """Returns the name of an operator, and anything else as it is."""
        if isinstance(target, torch._ops.OpOverload):
            return cls((target.namespace, target._schema.name.rpartition("::")[2], target._overloadname))
        if isinstance(target, torch._ops.OpOverloadPacket):
            return cls(tuple(target._qualified_op_name.split("::")))
        if isinstance(target, torch._ops.HigherOrderOperator):
            return cls(("higher_order", target.__name__))
        return target

    def found(self) -> Any:
        """Returns the operator."""
        return functools.reduce(getattr, self.path, torch.ops)


class FlatNode(NamedTuple):
    """One node, with a `NodeRef` wherever its arguments hold a node."""

    op: str
    name: str
    target: Any
    args: Any
    kwargs: Any
    type: Any
    meta: dict[str, Any]


@dataclass(frozen=True)
class FlatGraph:
    """A graph as a list of nodes in order, with its way of generating code.

    Example:
        >>> import pickle
        >>> graph = fx.symbolic_trace(lambda x: x + 1).graph
        >>> restored = pickle.loads(pickle.dumps(FlatGraph.of(graph))).graph()
        >>> str(restored) == str(graph)
        True
    """

    nodes: Sequence[FlatNode]
    codegen: Any

    @classmethod
    def of(cls, graph: fx.Graph) -> FlatGraph:
        """Flattens `graph`; of the nodes' meta only what can be pickled everywhere is kept."""
        return cls([_flat(node) for node in graph.nodes], graph._codegen)

    def graph(self) -> fx.Graph:
        """Makes the graph anew; nodes have the names that they had."""
        graph = fx.Graph()
        graph._codegen = self.codegen
        nodes: dict[str, fx.Node] = {}
        for flat in self.nodes:
            args = cast("tuple[Any, ...]", with_nodes(flat.args, nodes))
            kwargs = cast("dict[str, Any]", with_nodes(flat.kwargs, nodes))
            target = flat.target.found() if isinstance(flat.target, Operator) else flat.target
            node = new_node(graph, flat.op, target, args, kwargs, flat.name, flat.type)
            node.meta.update(flat.meta)
            nodes[flat.name] = node
        return graph


def copy_graph(graph: fx.Graph) -> fx.Graph:
    """Returns a copy of `graph` with the same node names and shallow copies of the nodes' meta.

    Example:
        >>> graph = fx.symbolic_trace(lambda x: x + 1).graph
        >>> str(copy_graph(graph)) == str(graph)
        True
    """
    copied = fx.Graph(tracer_cls=graph._tracer_cls)
    copied._codegen = graph._codegen
    copied._co_fields = graph._co_fields
    nodes: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        args = map_arg(node.args, nodes.__getitem__)
        kwargs = map_arg(node.kwargs, nodes.__getitem__)
        new = new_node(copied, node.op, node.target, args, kwargs, node.name, node.type)
        new.meta = dict(node.meta)
        nodes[node] = new
    return copied


def _flat(node: fx.Node) -> FlatNode:
    meta = {key: node.meta[key] for key in _PICKLED_META if key in node.meta}
    if "nn_module_stack" in meta:
        # Classes by name, as torch.export has them: the graph can be loaded where the model's source is not.
        stack = cast("dict[str, tuple[str, Any]]", meta["nn_module_stack"])
        meta["nn_module_stack"] = {key: (path, _class_name(kind)) for key, (path, kind) in stack.items()}
    args, kwargs = map_structure((node.args, dict(node.kwargs)), _reference)  # type: ignore[misc] # a pair in, a pair out
    return FlatNode(node.op, node.name, Operator.instead_of(node.target), args, kwargs, node.type, meta)


def _class_name(kind: object) -> object:
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else kind


def _reference(part: object) -> object:
    return NodeRef(part.name) if isinstance(part, fx.Node) else part
