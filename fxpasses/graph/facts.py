"""Facts about a graph module that passes need, provide and preserve.

A fact is tested on the graph module itself, so that it holds however it came about: by an earlier pass of the
same pipeline, by another pipeline, or by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import fx

from fxpasses.graph.meta import capture_record, qualified_name


@dataclass(frozen=True)
class Fact:
    """A named, testable statement about a graph module.

    Attributes:
        name: How errors and reports call it.
        holds: Tests the statement on a graph module, in at most linear time.
    """

    name: str
    holds: Callable[[fx.GraphModule], bool] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


def _all_named(graph_module: fx.GraphModule) -> bool:
    return all(qualified_name(node) is not None for node in graph_module.graph.nodes if node.op != "output")


def _has_record(graph_module: fx.GraphModule) -> bool:
    return capture_record(graph_module) is not None


NAMES = Fact("names", _all_named)
"""Every node except the output has a qualified name."""

CALLS = Fact("calls", _has_record)
"""The graph module carries the record of its capture: the model, and what each module call took and returned."""
