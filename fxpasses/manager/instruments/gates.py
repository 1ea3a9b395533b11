"""Instruments that keep passes from running: `SkipPasses` by name, `StopAfter` by number."""

from __future__ import annotations

from torch import fx

from fxpasses.manager.instrument import Instrument, Step


class SkipPasses(Instrument):
    """Skips the passes of these names.

    Args:
        names: How reports call the passes, such as `name-nodes`.

    Example:
        >>> from fxpasses.manager import PassManager
        >>> def swap(graph_module):
        ...     list(graph_module.graph.nodes)[1].args = (1, 2)
        >>> report = PassManager([swap], instruments=[SkipPasses("swap")])(fx.symbolic_trace(lambda x: x + 1)).report
        >>> report.children[0].skipped
        'named in SkipPasses'
    """

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    def skip(self, step: Step) -> str | None:
        """Returns a reason if the pass is one of those named."""
        return "named in SkipPasses" if step.name in self.names else None


class StopAfter(Instrument):
    """Skips all passes after so many; what halving a pipeline needs.

    Args:
        count: How many passes run, those of nested pipelines and of every round counted one by one.

    Example:
        >>> from fxpasses.manager import PassManager
        >>> def nothing(graph_module):
        ...     pass
        >>> manager = PassManager([nothing] * 3, instruments=[StopAfter(2)])
        >>> [child.skipped for child in manager(fx.symbolic_trace(lambda x: x + 1)).report.children]
        [None, None, 'after the first 2']
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._done = 0

    def before_pipeline(self, graph_module: fx.GraphModule) -> None:  # noqa: ARG002 - the base class has it
        """Starts to count."""
        self._done = 0

    def skip(self, step: Step) -> str | None:  # noqa: ARG002 - the base class has it
        """Returns a reason once enough passes ran."""
        if self._done >= self.count:
            return f"after the first {self.count}"
        self._done += 1
        return None
