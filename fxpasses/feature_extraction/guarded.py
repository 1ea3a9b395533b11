"""`GuardedGraphModule`: a feature extractor that refuses inputs on which its graph would be another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from fxpasses.capture.values.guards import GuardSet, guards_of
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
            GuardError: The model would compute something else on these arguments, or does not take their sizes.
        """
        guards = self.guards
        guards.check(args, kwargs)
        if torch.compiler.is_compiling():
            return super().__call__(*args, **kwargs)
        try:
            return super().__call__(*args, **kwargs)
        except Exception as error:
            failure = guards.failure(self, args, kwargs)
            if failure is None:
                raise
            raise failure from error


def guarded(module: DualGraphModule, guards: Mapping[bool, GuardSet | None]) -> DualGraphModule:
    """Returns `module` as one that checks `guards` at each call; as it is if there are none.

    Args:
        module: An extractor, not yet used; its content goes into the result.
        guards: The guards of training mode (True) and of evaluation mode (False).
    """
    if all(each is None for each in guards.values()):
        return module
    result = GuardedGraphModule.__new__(GuardedGraphModule)
    result._adopt(module._attributes(), module.graphs(), type(module).__name__)
    result._guards = {mode: GuardSet.empty() if each is None else each for mode, each in guards.items()}
    return result


class GuardCutter:
    """Finds, after a graph was pruned, which of its guards still matter.

    Args:
        captured: The graph module before it is pruned.
    """

    def __init__(self, captured: fx.GraphModule) -> None:
        self._guards = guards_of(captured)
        nodes = () if self._guards is None else captured.graph.nodes
        self._positions = {node.name: index for index, node in enumerate(nodes)}

    def relevant_to(self, graph: fx.Graph) -> GuardSet | None:
        """Returns the guards of decisions that were taken before the last node that `graph` kept."""
        if self._guards is None:
            return None
        kept = [self._positions.get(node.name, 0) for node in graph.nodes if node.op not in ("placeholder", "output")]
        return self._guards.until(max(kept, default=-1))
