"""`PassManager`: runs passes in the order given, recompiles once, and undoes everything when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import fx

from fxpasses.errors import ArgumentTypeError, PassError, UnmetNeedError
from fxpasses.graph.facts import Fact
from fxpasses.graph.snapshot import Snapshot
from fxpasses.manager.contract import Pass, PassResult

PassLike = Callable[[fx.GraphModule], Any]


class PipelineResult(PassResult):
    """The outcome of a pipeline; `results` holds the outcome of each pass, in order."""

    results: tuple[PassResult, ...]


@dataclass(frozen=True)
class PassManager(Pass):
    """Runs passes over a graph module; is itself a pass, so that pipelines nest.

    It runs exactly the order given. An unmet need is an error before anything runs, never a silent reorder.
    The module is recompiled once, at the end, and not at all if nothing changed. If a pass raises, the graph
    module is what it was before the pipeline began.

    Attributes:
        passes: What to run: passes of fxpasses, or any `f(graph_module) -> PassResult`.

    Example:
        >>> from fxpasses.passes.name_nodes import NameNodes
        >>> graph_module, modified = PassManager([NameNodes()])(fx.symbolic_trace(abs))
        >>> modified
        True
    """

    passes: tuple[PassLike, ...]

    def __init__(self, passes: Iterable[PassLike]) -> None:
        """Takes the passes in the order in which they run."""
        object.__setattr__(self, "passes", tuple(passes))
        for position, pass_ in enumerate(self.passes):
            if not callable(pass_):
                raise ArgumentTypeError(
                    f"PassManager: entry {position} of {len(self.passes)} is {pass_!r}, which cannot be called. "
                    "Give a pass, or any function that takes a graph module and returns a PassResult."
                )

    def call(self, graph_module: fx.GraphModule) -> PipelineResult:
        """Runs the pipeline on `graph_module`.

        Returns:
            The resulting graph module, whether anything changed, and each pass's own result.

        Raises:
            UnmetNeedError: A pass needs a fact that neither holds nor is provided by a pass before it.
            PassError: A pass raised; its cause is chained and the graph module is as it was.
        """
        check_needs(self.passes, graph_module)
        snapshot = Snapshot.take(graph_module)
        results: list[PassResult] = []
        current = graph_module
        for position, pass_ in enumerate(self.passes):
            try:
                results.append(_as_result(pass_(current), pass_))
            except Exception as error:
                snapshot.restore()
                raise PassError(_failure(self.passes, position, error)) from error
            current = results[-1].graph_module
        modified = any(result.modified for result in results)
        if modified:
            current.recompile()
        return PipelineResult(current, modified, results=tuple(results))


def check_needs(passes: Iterable[PassLike], graph_module: fx.GraphModule) -> None:
    """Raises `UnmetNeedError` for the first pass whose needs cannot hold when its turn comes."""
    provided: set[Fact] = set()
    lost: set[Fact] = set()
    for position, pass_ in enumerate(passes):
        for fact in sorted(getattr(pass_, "needs", ()), key=str):
            if fact in lost or (fact not in provided and not fact.holds(graph_module)):
                raise UnmetNeedError(
                    f"{pass_name(pass_)} (pass {position}) needs the fact {fact.name!r}, which "
                    + ("an earlier pass of the pipeline does not preserve." if fact in lost else "nothing provides.")
                    + " Put a pass that provides it before this one."
                )
        if isinstance(pass_, Pass):
            provided |= pass_.provides
            lost -= pass_.provides


def pass_name(pass_: PassLike) -> str:
    """Returns how errors call a pass: its class, its function, or its repr."""
    name = getattr(pass_, "__name__", None)
    return name if isinstance(name, str) else type(pass_).__name__


def _as_result(outcome: object, pass_: PassLike) -> PassResult:
    if isinstance(outcome, PassResult):
        return outcome
    if isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[0], fx.GraphModule):
        return PassResult(outcome[0], bool(outcome[1]))
    raise ArgumentTypeError(
        f"{pass_name(pass_)} returned {type(outcome).__name__}; a pass returns PassResult(graph_module, modified)."
    )


def _failure(passes: tuple[PassLike, ...], position: int, error: Exception) -> str:
    done = ", ".join(pass_name(pass_) for pass_ in passes[:position]) or "none"
    return (
        f"{pass_name(passes[position])} (pass {position} of {len(passes)}; before it: {done}) raised "
        f"{type(error).__name__}: {error}\nThe graph module is as it was before the pipeline."
    )
