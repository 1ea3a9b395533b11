"""Tells whether a graph failed on its arguments because of their sizes, and at which node."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import fx
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from fxpasses.capture.tracing.proxies import PLAIN_OPERATOR
from fxpasses.capture.values.fake_values import FakeValues
from fxpasses.graph.meta import qualified_name
from fxpasses.graph.modules import attribute

UNKNOWN_DATA = ("DataDependentOutputException", "DynamicOutputShapeException", "GuardOnDataDependentSymNode")
"""What torch raises where a value without data would have to answer for data."""

_WRITES: frozenset[Any] = frozenset({*PLAIN_OPERATOR, operator.setitem, operator.delitem})


class Misfit(NamedTuple):
    """An operation that no value of such a size goes through.

    Attributes:
        name: The qualified name of its node.
        error: What it raises.
    """

    name: str
    error: Exception


def misfit(graph_module: fx.GraphModule, arguments: Sequence[Any]) -> Misfit | None:
    """Runs a graph on arguments without their data, and returns the operation that fails; None if none does.

    Args:
        graph_module: The graph, in whose modules its operations are found.
        arguments: A value for each placeholder.

    Example:
        >>> from torch import nn
        >>> graph_module = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4)))
        >>> misfit(graph_module, [torch.ones(2, 3)]) is None
        True
        >>> misfit(graph_module, [torch.ones(2, 5)]).name
        '_0'
    """
    values = FakeValues(graph_module)
    nodes = list(graph_module.graph.nodes)
    for node in nodes:
        values.add(node)
    for node, argument in zip(graph_module.graph.find_nodes(op="placeholder"), arguments, strict=True):
        values.give(node, argument)
    for node in graph_module.graph.output_node().all_input_nodes:
        try:
            values.of(node)
        except Exception as error:  # whatever an operation says to sizes that it does not take
            known = type(error).__name__ not in UNKNOWN_DATA
            return _misfit_at(values.culprit(node), error) if known else None
    return _of_tables(graph_module, nodes, values)


def _of_tables(graph_module: fx.GraphModule, nodes: Sequence[fx.Node], values: FakeValues) -> Misfit | None:
    """Computes what depends on sizes and weights alone, such as the look-up of distances in a table of weights."""
    known: dict[fx.Node, Any] = {}
    of_weights: set[fx.Node] = set()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for node in nodes:
            if node.op == "get_attr":
                known[node] = attribute(graph_module, str(node.target))
                of_weights.add(node)
            elif node.target is getattr and node.args[1] == "device":
                known[node] = values.device_of(cast("fx.Node", node.args[0]))
            elif _is_number(values, node):
                known[node] = values.of(node)
            elif _can_be_computed(node, known, of_weights):
                of_weights.update([node] if of_weights.intersection(node.all_input_nodes) else [])
                try:
                    known[node] = _computed(node, known)
                except Exception as error:  # whatever an operation says to what it was given
                    return _misfit_at(node, error)
    return None


def _is_number(values: FakeValues, node: fx.Node) -> bool:
    """Whether a node computes sizes, or other numbers, from sizes alone."""
    if node.op not in ("call_function", "call_method"):
        return False
    leaves = pytree.tree_leaves(values.of(node))
    return all(type(leaf) in (int, float, bool) for leaf in leaves)


def _can_be_computed(node: fx.Node, known: dict[fx.Node, Any], of_weights: set[fx.Node]) -> bool:
    if node.op not in ("call_function", "call_method") or not all(each in known for each in node.all_input_nodes):
        return False
    name = str(getattr(node.target, "__name__", node.target))
    writes = node.target in _WRITES or name.endswith("_") or node.kwargs.get("inplace", False) is not False
    return not writes or not of_weights.intersection(node.all_input_nodes)


def _computed(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    args, kwargs = (map_arg(each, known.__getitem__) for each in (node.args, node.kwargs))
    if node.op == "call_method":
        return getattr(cast("Any", args)[0], str(node.target))(*cast("Any", args)[1:], **cast("Any", kwargs))
    return cast("Any", node.target)(*cast("Any", args), **cast("Any", kwargs))


def _misfit_at(node: fx.Node, error: Exception) -> Misfit:
    return Misfit(qualified_name(node) or node.name, error)
