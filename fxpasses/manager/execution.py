"""The running of a pipeline: one transaction around it, one step a pass."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import ClassVar, NoReturn, cast

from torch import fx

from fxpasses.errors import ContractError, PassError
from fxpasses.graph.analyses import shared_analyses
from fxpasses.graph.facts import Fact
from fxpasses.graph.module_tree import ModuleTree
from fxpasses.graph.snapshot import Snapshot
from fxpasses.graph.state import GraphState
from fxpasses.manager.claims import check_claims
from fxpasses.manager.contract import Pass, PassLike, PassResult, no_result
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.needs import Placed, check_needs, facts_after, needs_of, place_text, unmet
from fxpasses.manager.report import Report


class PipelineResult(PassResult):
    """The outcome of a pipeline.

    Attributes:
        results: The outcome of each pass, in order; for a nested pipeline its own `PipelineResult`.
        report: What happened, as a tree.
    """

    results: tuple[PassResult, ...]
    report: Report


class Composite(Pass):
    """A pass made of passes. Alone it is a transaction; inside another one it is a part of that one's.

    Attributes:
        text_name: How the text of a pipeline calls it.
        passes: The passes inside.
        undo: Whether the graph module is put back if a pass raises.
    """

    text_name: ClassVar[str]
    passes: tuple[PassLike, ...]
    undo: bool = True

    def __call__(self, graph_module: fx.GraphModule) -> PipelineResult:
        """Runs the precondition, the passes as one transaction, and the postcondition; see `call`."""
        return cast("PipelineResult", super().__call__(graph_module))

    def call(self, graph_module: fx.GraphModule) -> PipelineResult:
        """Runs the passes on `graph_module`, as one transaction.

        Returns:
            The resulting graph module, whether anything changed, each pass's own result, and a report.

        Raises:
            UnmetNeedError: A pass needs a fact that neither holds nor is provided by a pass before it.
            PassError: A pass raised; its cause is chained and the graph module is as it was.
            FalseClaimError: What a pass said about its result is not so; the graph module is as it was.
        """
        return run_as_transaction(self, graph_module)

    @abstractmethod
    def placed(self, prefix: tuple[int, ...]) -> Iterator[Placed]:
        """Yields every pass inside, with its place, in an order of running that shows every need."""

    @abstractmethod
    def run(self, execution: Execution, graph_module: fx.GraphModule, position: tuple[int, ...]) -> PipelineResult:
        """Runs the passes inside as a part of `execution`."""


class Execution:
    """What is known while a pipeline runs."""

    def __init__(self, state: GraphState, known: set[Fact], undo: bool) -> None:
        self.state = state
        self.known = known
        self.undo = undo
        self.instruments: tuple[Instrument, ...] = ()
        self.involved: list[Instrument] = []

    @contextmanager
    def watched_by(
        self, instruments: tuple[Instrument, ...], graph_module: fx.GraphModule
    ) -> Generator[None, None, None]:
        """Lets these instruments, too, watch what runs in the block."""
        outer = self.instruments
        self.involved.extend(instruments)
        for instrument in instruments:
            instrument.before_pipeline(graph_module)
        self.instruments = (*outer, *instruments)
        yield
        self.instruments = outer

    def step(
        self, pass_: PassLike, graph_module: fx.GraphModule, position: tuple[int, ...]
    ) -> tuple[PassResult, Report]:
        """Runs one pass, or the passes of one that is a pipeline."""
        if isinstance(pass_, Composite):
            result = pass_.run(self, graph_module, position)
            return result, result.report
        step = Step(pass_, position, self.state)
        for instrument in self.instruments:
            reason = instrument.skip(step)
            if reason is not None:
                return PassResult(graph_module, False), Report(step.name, position, skipped=reason)
        try:
            result = self._run(step, graph_module)
        except Exception as error:
            self._fail(step, error)
        return result, Report.of_step(
            step.name, position, step.seconds, step.claimed, step.change, changed=step.changed
        )

    def _run(self, step: Step, graph_module: fx.GraphModule) -> PassResult:
        self._require_needs(step, graph_module)
        self._tell(lambda instrument: instrument.before_pass(step))
        started = time.perf_counter()
        outcome = step.pass_(graph_module)
        step.seconds = time.perf_counter() - started
        result, step.claimed = as_result(outcome, step.pass_, graph_module)
        step.result = result
        if result.graph_module is not graph_module or not self.state.still_holds():
            step.after = self.state = GraphState.of(result.graph_module)
        if step.claimed is None and outcome is not result:
            result = step.result = PassResult(result.graph_module, step.changed)
        check_claims(step, graph_module)
        self.known = facts_after(step.pass_, self.known, changed=step.changed)
        self._tell(lambda instrument: instrument.after_pass(step))
        return result

    def _tell(self, message: Callable[[Instrument], None]) -> None:
        for instrument in self.instruments:
            message(instrument)

    def _require_needs(self, step: Step, graph_module: fx.GraphModule) -> None:
        for fact in needs_of(step.pass_):
            if fact not in self.known and not fact.holds(graph_module):
                raise unmet(Placed(step.pass_, step.position), fact, ", which does not hold when its turn comes")
            self.known.add(fact)

    def _fail(self, step: Step, error: Exception) -> NoReturn:
        self._tell(lambda instrument: instrument.after_failure(step, error))
        before = step.before.columns.rebuild()
        after = GraphState.of(step.graph_module).columns.rebuild()
        if isinstance(error, ContractError) and error.before is None:
            error.pass_, error.position, error.before, error.after = step.pass_, step.position, before, after
            raise error
        which = f"{step.name} (pass {place_text(step.position)})"
        did = f"{which} raised {type(error).__name__}" if step.result is None else f"After {which}"
        restored = "is as it was before the pipeline" if self.undo else "is as the pass left it"
        message = (
            f"{did}: {error}\n"
            f"The graph module {restored}; this error's `before` and `after` are copies of the "
            "graph as the pass got and left it."
        )
        raise PassError(message, pass_=step.pass_, position=step.position, before=before, after=after) from error


def run_as_transaction(pipeline: Composite, graph_module: fx.GraphModule) -> PipelineResult:
    """Runs `pipeline`; compiles once if anything changed, and puts everything back if anything raises."""
    known = check_needs(pipeline.placed(()), graph_module)
    snapshot = Snapshot.take(graph_module) if pipeline.undo else None
    state = GraphState.of(graph_module) if snapshot is None else snapshot.state
    execution = Execution(state, known, pipeline.undo)
    try:
        with shared_analyses():
            result = pipeline.run(execution, graph_module, ())
        if execution.state is not state:  # meta alone does not enter the code
            _recompile(result.graph_module)
    except BaseException:
        if snapshot is not None:
            snapshot.restore()
            for instrument in execution.involved:
                instrument.after_restore(graph_module)
        raise
    return result


def _recompile(graph_module: fx.GraphModule) -> None:
    for module in ModuleTree.of(graph_module).paths:
        if isinstance(module, fx.GraphModule):
            module.recompile()


def as_result(outcome: object, pass_: PassLike, graph_module: fx.GraphModule) -> tuple[PassResult, bool | None]:
    """Reads what a pass returned: the result, and what the pass says of having modified something.

    A function may also return a graph module alone, or None for the one that it was given: it says nothing then, and
    what the result says of it has to be measured.
    """
    if isinstance(outcome, PassResult):
        return outcome, outcome.modified
    if outcome is None:
        return PassResult(graph_module, False), None
    if isinstance(outcome, fx.GraphModule):
        return PassResult(outcome, False), None
    if isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[0], fx.GraphModule):
        return PassResult(outcome[0], bool(outcome[1])), bool(outcome[1])
    raise no_result(pass_, outcome)
