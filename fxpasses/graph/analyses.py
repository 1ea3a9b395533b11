"""Analyses that the passes of one pipeline share, as long as the graph still is what was analysed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from fxpasses.graph.effects import Effects, analyze_effects
from fxpasses.graph.effects.source.summaries import Summaries


@dataclass(frozen=True)
class _Known:
    """The effects of a graph, and what each of its nodes was when they were found out."""

    effects: Effects
    nodes: dict[fx.Node, tuple[Any, Any, Any]]

    def still_hold(self, graph: fx.Graph) -> bool:
        """Whether each node is as it was; what is returned does not matter, nor, as a rule, what was removed since."""
        if self.effects.joined and len(self.nodes) != len(graph.nodes):
            return False
        return all(_is_as_it_was(node, self.nodes.get(node)) for node in graph.nodes if node.op != "output")


@dataclass(frozen=True)
class _Shared:
    """What was found out since a block began: the effects of graphs, and what callees do as their source tells."""

    effects: dict[tuple[int, bool | None], _Known] = field(default_factory=dict[tuple[int, bool | None], _Known])
    summaries: Summaries = field(default_factory=Summaries)


_shared: ContextVar[_Shared | None] = ContextVar("_shared", default=None)


@contextmanager
def shared_analyses() -> Generator[None]:
    """Lets `effects_of` remember what it found out until the end of the block; the pass manager opens one for each run.

    What is remembered serves every graph that calls the same modules: those of both modes of a model, for example.
    Nothing is remembered outside of such a block: between two runs a module may have been switched or replaced.
    """
    if _shared.get() is not None:
        yield
        return
    token = _shared.set(_Shared())
    try:
        yield
    finally:
        _shared.reset(token)


def effects_of(graph_module: fx.GraphModule, training: bool | None = None) -> Effects:
    """Returns the effects of a graph's nodes, found out anew only if the graph was changed since the last time.

    Effects that were found out when the graph had more nodes are returned too, unless fewer nodes may do less than they
    say; they may speak of nodes that are no longer there.

    Args:
        graph_module: The graph and its modules.
        training: As for `analyze_effects`.

    Example:
        >>> graph_module = fx.symbolic_trace(lambda x: x.relu_())
        >>> with shared_analyses():
        ...     effects_of(graph_module) is effects_of(graph_module)
        True
        >>> effects_of(graph_module) is effects_of(graph_module)
        False
    """
    shared = _shared.get()
    if shared is None:
        return analyze_effects(graph_module, training=training)
    graph = graph_module.graph
    known = shared.effects.get((id(graph), training))
    if known is None or not known.still_hold(graph):
        states = {node: (node.target, node.args, node.kwargs) for node in graph.nodes}
        found = analyze_effects(graph_module, training=training, summaries=shared.summaries)
        known = shared.effects[id(graph), training] = _Known(found, states)
    return known.effects


def _is_as_it_was(node: fx.Node, state: tuple[Any, Any, Any] | None) -> bool:
    # Nodes make a new tuple of arguments whenever an argument changes, so identity tells.
    return state is not None and state[0] is node.target and state[1] is node.args and state[2] is node.kwargs
