"""Passes one after the other: what a pipeline and a round of a repetition have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import fx

from fxpasses.errors import ArgumentTypeError
from fxpasses.manager.contract import PassLike, PassResult
from fxpasses.manager.execution import Composite, Execution, PipelineResult
from fxpasses.manager.needs import Placed, enumerated
from fxpasses.manager.report import Report


def checked_passes(owner: str, passes: Iterable[PassLike]) -> tuple[PassLike, ...]:
    """Returns the passes as a tuple.

    Raises:
        ArgumentTypeError: One of them cannot be called, or is a class that was not instantiated.
    """
    if isinstance(passes, str) or callable(passes) or not isinstance(passes, Iterable):
        raise ArgumentTypeError(f"{owner} takes a list of passes, got {passes!r}. PassManager.parse reads a text.")
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
