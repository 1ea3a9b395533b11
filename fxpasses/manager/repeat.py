"""`Repeat`: runs passes again and again until nothing changes any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from fxpasses.errors import ArgumentTypeError, NotConvergedError
from fxpasses.graph.state import GraphState
from fxpasses.graph.structural_hash import structural_hash
from fxpasses.manager.contract import PassLike, PassResult
from fxpasses.manager.execution import Composite, Execution, PipelineResult
from fxpasses.manager.needs import Placed
from fxpasses.manager.report import Report
from fxpasses.manager.sequence import checked_passes, placed_in, run_in_order
from fxpasses.manager.text.passes import text_of_pass


@dataclass(frozen=True)
class Repeat(Composite):
    """Runs passes over a graph module again and again, until a round changes nothing.

    A pass whose `modified` is always true does not keep it going: what counts is whether the graph changed.

    Attributes:
        passes: What to run in each round, as for `PassManager`.
        limit: How many rounds there may be.

    Example:
        >>> def fold_one(graph_module):
        ...     adds = [node for node in graph_module.graph.nodes if node.op == "call_function"]
        ...     if adds:
        ...         adds[0].replace_all_uses_with(adds[0].args[0])
        ...         graph_module.graph.erase_node(adds[0])
        ...     return PassResult(graph_module, bool(adds))
        >>> graph_module = fx.symbolic_trace(lambda x: x + 0 + 0 + 0)
        >>> [round.changed for round in Repeat([fold_one])(graph_module).report.children]
        [True, True, True, False]
    """

    text_name: ClassVar[str] = "repeat"

    passes: tuple[PassLike, ...]
    limit: int

    def __init__(self, passes: Iterable[PassLike], limit: int = 10) -> None:
        """Takes the passes of a round, in order, and the greatest number of rounds."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ArgumentTypeError(f"Repeat: limit={limit!r}; give the greatest number of rounds, at least 1.")
        object.__setattr__(self, "passes", checked_passes("Repeat", passes))
        object.__setattr__(self, "limit", limit)

    def __str__(self) -> str:
        """Writes the repetition as the text of a pipeline does."""
        return text_of_pass(self)

    def placed(self, prefix: tuple[int, ...]) -> Iterator[Placed]:
        """Yields every pass inside, twice: what a round loses, the next one lacks."""
        yield from placed_in(self.passes, prefix)
        yield from placed_in(self.passes, prefix)

    def run(self, execution: Execution, graph_module: fx.GraphModule, position: tuple[int, ...]) -> PipelineResult:
        """Runs rounds as a part of `execution`.

        Raises:
            NotConvergedError: The last round that is allowed still changed something, or the graph is again what it
                was after an earlier round.
        """
        rounds: list[PipelineResult] = []
        states = [execution.state]  # kept, so that no identity is given to another tensor
        seen = [_fingerprint(execution.state)]
        for number in range(1, self.limit + 1):
            result = run_in_order(execution, self.passes, graph_module, position, f"round {number}")
            rounds.append(result)
            graph_module = result.graph_module
            if not result.modified:
                return _outcome(graph_module, rounds, position)
            states.append(execution.state)
            seen.append(_fingerprint(execution.state))
            if seen.count(seen[-1]) > 2:  # twice may be a round that only gave new names
                again = seen.index(seen[-1])
                reason = f"the graph after round {number} is what it was {_after(again)}"
                raise self._not_converged(reason, rounds[again:], position)
        raise self._not_converged(f"round {self.limit}, the last allowed, changed the graph", rounds[-1:], position)

    def _not_converged(self, reason: str, rounds: list[PipelineResult], position: tuple[int, ...]) -> NotConvergedError:
        steps = [step for result in rounds for step in result.report if not step.children and step.changed]
        names = list(dict.fromkeys(step.name for step in steps))
        advice = "They undo each other" if len(names) > 1 else "It undoes what it did, or never ends"
        return NotConvergedError(
            f"The repetition did not converge: {reason}. Still changing it: {', '.join(names)}. "
            f"{advice}; if it only takes more rounds, raise limit={self.limit}.",
            pass_=self,
            position=position,
        )


def _outcome(graph_module: fx.GraphModule, rounds: list[PipelineResult], position: tuple[int, ...]) -> PipelineResult:
    report = Report.of_children("repeat", position, tuple(each.report for each in rounds))
    results: tuple[PassResult, ...] = tuple(rounds)
    return PipelineResult(graph_module, report.changed, results=results, report=report)


def _fingerprint(state: GraphState) -> tuple[str, list[object], list[tuple[int, ...]]]:
    """Returns what makes two rounds the same: the structure, and the very same tensors without a write between."""
    return structural_hash(state), [id(held) for held in state.held], state.writes


def _after(number: int) -> str:
    return f"after round {number}" if number else "before the first"
