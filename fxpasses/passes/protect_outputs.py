"""`ProtectOutputs`: keeps a returned value safe from later in-place writes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import fx

from fxpasses.graph.analyses import effects_of
from fxpasses.graph.effects import Effects
from fxpasses.graph.effects.copies import insert_copy
from fxpasses.graph.effects.storages import NOWHERE
from fxpasses.graph.facts import CALLS, NAMES, Fact
from fxpasses.manager import Pass, PassResult
from fxpasses.manager.contract import OutputsClaim


class ProtectResult(PassResult):
    """The outcome of `ProtectOutputs`: how many copies it made."""

    copies: int


@dataclass(frozen=True)
class ProtectOutputs(Pass):
    """Makes the graph return each value as it was when it was computed.

    A value that a later node may overwrite is copied right after it was computed, and the copy is returned; every
    other value is returned as it is. So a graph without in-place operations gets no copy. A value that lives in a
    parameter or buffer is also copied when a later call of the graph may write there.

    Every node of the graph counts as one that runs: prune first. Changes the graph in place. The copies carry the
    meta of what they copy; autograd works through them.

    Attributes:
        training: The `training` flag that modules are assumed to have when the graph runs; None for either one.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(inplace=True))
        >>> graph_module = fx.symbolic_trace(model)
        >>> x, linear, relu, output = graph_module.graph.nodes
        >>> output.args = ((linear, relu),)
        >>> ProtectOutputs()(graph_module).copies, output.args
        (1, ((_0_clone, _1),))
    """

    training: bool | None = None

    preserves: ClassVar[frozenset[Fact]] = frozenset({NAMES, CALLS})
    outputs_claim: ClassVar[OutputsClaim] = "at_birth"

    def call(self, graph_module: fx.GraphModule) -> ProtectResult:
        """Inserts the copies; see the class."""
        kept = set(graph_module.graph.nodes)
        copies = protect_outputs(graph_module, effects_of(graph_module, self.training), kept)
        return ProtectResult(graph_module, copies > 0, copies=copies)


def protect_outputs(graph_module: fx.GraphModule, effects: Effects, kept: Collection[fx.Node] | None = None) -> int:
    """Inserts a copy of each returned value that a later node may overwrite, and returns the copy instead.

    Args:
        graph_module: Its graph is changed in place, and is not recompiled.
        effects: What the nodes of the graph write.
        kept: The nodes that will run; None for all.

    Returns:
        How many copies were inserted.
    """
    graph = graph_module.graph
    endangered = overwritten_outputs(graph, effects, kept)
    copies = {node: insert_copy(node, effects.kinds.get(node, "any")) for node in endangered}
    output = graph.output_node()
    if copies:
        output.args = cast("Any", fx.map_arg(output.args, lambda node: copies.get(node, node)))
    return len(copies)


def overwritten_outputs(
    graph: fx.Graph, effects: Effects, kept: Collection[fx.Node] | None = None
) -> tuple[fx.Node, ...]:
    """Returns the nodes among the outputs whose value a later node may overwrite, in order of execution.

    Example:
        >>> from fxpasses.graph.effects import analyze_effects
        >>> def model(x):
        ...     y = x + 1
        ...     return x, y, y.relu_()
        >>> graph_module = fx.symbolic_trace(model)
        >>> overwritten_outputs(graph_module.graph, analyze_effects(graph_module))
        (add,)
    """
    returned = set(graph.output_node().all_input_nodes)
    endangered: list[fx.Node] = []
    # Going backwards, these are the storages that are written later on; what outlives a call is written in the next.
    written = NOWHERE.union(*(effects.writes[node] & effects.state for node in effects.writes if _runs(node, kept)))
    later = set(written)
    for node in reversed(graph.nodes):
        if node in returned and not later.isdisjoint(effects.storages.get(node, NOWHERE)):
            endangered.append(node)
        if _runs(node, kept):
            later.update(effects.writes.get(node, NOWHERE))
    return tuple(reversed(endangered))


def _runs(node: fx.Node, kept: Collection[fx.Node] | None) -> bool:
    return kept is None or node in kept
