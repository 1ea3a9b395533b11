"""Tells whether a graph failed on its arguments because of their sizes, and at which node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import fx

from fxpasses.capture.values.fake_values import FakeValues
from fxpasses.graph.meta import qualified_name

UNKNOWN_DATA = ("DataDependentOutputException", "DynamicOutputShapeException", "GuardOnDataDependentSymNode")
"""What torch raises where a value without data would have to answer for data."""


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
        >>> import torch
        >>> from torch import nn
        >>> graph_module = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4)))
        >>> misfit(graph_module, [torch.ones(2, 3)]) is None
        True
        >>> misfit(graph_module, [torch.ones(2, 5)]).name
        '_0'
    """
    values = FakeValues(graph_module)
    placeholders: list[fx.Node] = []
    for node in graph_module.graph.nodes:
        values.add(node)
        if node.op == "placeholder":
            placeholders.append(node)
    for node, argument in zip(placeholders, arguments, strict=True):
        values.give(node, argument)
    for node in graph_module.graph.output_node().all_input_nodes:
        try:
            values.of(node)
        except Exception as error:  # whatever an operation says to sizes that it does not take
            if type(error).__name__ in UNKNOWN_DATA:
                return None
            culprit = values.culprit(node)
            return Misfit(qualified_name(culprit) or culprit.name, error)
    return None
