"""`PassManager`: runs passes in the order given, recompiles once, and undoes everything when one fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch import fx

from fxpasses.errors import ArgumentTypeError
from fxpasses.manager.contract import PassLike, PassResult
from fxpasses.manager.execution import Composite, Execution, PipelineResult
from fxpasses.manager.instrument import Instrument
from fxpasses.manager.needs import Placed, enumerated
from fxpasses.manager.report import Report


@dataclass(frozen=True)
class PassManager(Composite):
    """Runs passes over a graph module; is itself a pass, so that pipelines nest.

    It runs exactly the order given. An unmet need is an error before anything runs, never a silent reorder.
    The module is recompiled once, at the end, and not at all if nothing changed. If a pass raises, the graph
    module is what it was before the pipeline began.

    Attributes:
        passes: What to run: passes of fxpasses, or any `f(graph_module) -> PassResult`.
        instruments: What watches the run, such as `Verify()`; they see the passes of nested pipelines too.

    Example:
        >>> from fxpasses.passes.name_nodes import NameNodes
        >>> result = PassManager([NameNodes()])(fx.symbolic_trace(lambda x: x + 1))
        >>> result.modified, [child.name for child in result.report.children]
        (True, ['name-nodes'])
    """

    passes: tuple[PassLike, ...]
    instruments: tuple[Instrument, ...] = field(default=(), compare=False, repr=False)

    def __init__(self, passes: Iterable[PassLike], *, instruments: Iterable[Instrument] = ()) -> None:
        """Takes the passes in the order in which they run."""
        object.__setattr__(self, "passes", checked_passes(type(self).__name__, passes))
        object.__setattr__(self, "instruments", tuple(instruments))

    def placed(self, prefix: tuple[int, ...]) -> Iterator[Placed]:
        """Yields every pass inside, nested ones too, in the order of running."""
        return placed_in(self.passes, prefix)

    def run(self, execution: Execution, graph_module: fx.GraphModule, position: tuple[int, ...]) -> PipelineResult:
        """Runs the passes one after the other as a part of `execution`."""
        outer = execution.instruments
        execution.instruments = (*outer, *self.instruments)
        for instrument in self.instruments:
            instrument.before_pipeline(graph_module)
        result = run_in_order(execution, self.passes, graph_module, position, "pipeline")
        for instrument in self.instruments:
            instrument.after_pipeline(result.graph_module)
        execution.instruments = outer
        return result


def checked_passes(owner: str, passes: Iterable[PassLike]) -> tuple[PassLike, ...]:
    """Returns the passes as a tuple.

    Raises:
        ArgumentTypeError: One of them cannot be called, or is a class that was not instantiated.
    """
    found = tuple(passes)
    for index, pass_ in enumerate(found):
        hint = f"Did you mean {pass_.__name__}()?" if isinstance(pass_, type) else ""
        if not callable(pass_) or hint:
            raise ArgumentTypeError(
                f"{owner}: entry {index} of {len(found)} is {pass_!r}, which is no pass. "
                + (hint or "Give a pass, or any function that takes a graph module and returns a PassResult.")
            )
    return found


def placed_in(passes: Iterable[PassLike], prefix: tuple[int, ...]) -> Iterator[Placed]:
    """Yields the passes with their places, those of nested pipelines in place of the pipeline."""
    for placed in enumerated(passes, prefix):
        if isinstance(placed.pass_, Composite):
            yield from placed.pass_.placed(placed.position)
        else:
            yield placed


def run_in_order(
    execution: Execution,
    passes: Iterable[PassLike],
    graph_module: fx.GraphModule,
    position: tuple[int, ...],
    name: str,
) -> PipelineResult:
    """Runs passes one after the other, each on what the one before returned."""
    results: list[PassResult] = []
    reports: list[Report] = []
    for placed in enumerated(passes, position):
        result, report = execution.step(placed.pass_, graph_module, placed.position)
        results.append(result)
        reports.append(report)
        graph_module = result.graph_module
    report = Report.of_children(name, position, tuple(reports))
    return PipelineResult(graph_module, report.changed, results=tuple(results), report=report)
