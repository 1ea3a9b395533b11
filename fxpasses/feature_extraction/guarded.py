"""`GuardedGraphModule`: a feature extractor that refuses inputs on which its graph would be another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx

from fxpasses.capture.guards import GuardSet, guards_of
from fxpasses.feature_extraction.dual_graph_module import DualGraphModule


class GuardedGraphModule(DualGraphModule):
    """A `DualGraphModule` whose graphs were specialised on decisions, which each call checks first.

    What a compiler or another tracer makes of it checks nothing: those specialise by themselves.
    """

    _guards: Mapping[bool, GuardSet]

    __jit_unused_properties__ = (*DualGraphModule.__jit_unused_properties__, "guards")

    @property
    def guards(self) -> GuardSet:
        """What the graph of the current mode relies on; prints as one decision a line."""
        return self._guards[self.training]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the graph of the current mode.

        Raises:
            GuardError: The model would compute something else on these arguments.
        """
        self.guards.check(args, kwargs)
        return super().__call__(*args, **kwargs)


def relevant_guards(captured: fx.GraphModule, positions: Mapping[str, int]) -> GuardSet | None:
    """Returns the guards that the nodes of a pruned graph depend on.

    Args:
        captured: The graph module, pruned.
        positions: The place of each node before it was pruned, by name.
    """
    guards = guards_of(captured)
    if guards is None:
        return None
    kept = [positions.get(node.name, 0) for node in captured.graph.nodes if node.op not in ("placeholder", "output")]
    return guards.until(max(kept, default=-1))


def node_positions(graph_module: fx.GraphModule) -> dict[str, int]:
    """Returns the place of each node of a graph, by name."""
    return {node.name: index for index, node in enumerate(graph_module.graph.nodes)}
