"""`judge`: what is wrong with what a pipeline makes of a graph, if anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from fxpasses.errors import ContractError, PassError
from fxpasses.graph.observe import Observed, observe
from fxpasses.graph.verify import problems
from fxpasses.manager.blaming.copies import copied
from fxpasses.manager.contract import OutputsClaim
from fxpasses.manager.instrument import Instrument, Step
from fxpasses.manager.outputs import OutputComparison
from fxpasses.manager.pass_manager import PassManager


@dataclass(frozen=True)
class Wrong:
    """What is wrong with what a pipeline made of a graph.

    Attributes:
        kind: What kind of wrong: `raises ...`, `malformed ...`, `does not run` or `other values`.
        text: The same in a sentence.
        expected: What the graph returned before; None if it was not run.
        got: What it returned after; None if it was not run, or could not be.
        graph: The graph as the pipeline left it; None if there is none.
    """

    kind: str
    text: str
    expected: Any = None
    got: Any = None
    graph: fx.Graph | None = None


@dataclass(frozen=True)
class Judgement:
    """How a pipeline is judged.

    Attributes:
        inputs: What the graphs are run on, one a placeholder.
        seed: What the random generator is seeded with before each run.
        atol: How far elements may be apart.
        rtol: How far elements may be apart, as a share of the expected ones.
    """

    inputs: Sequence[Any]
    seed: int = 0
    atol: float = 0.0
    rtol: float = 0.0

    def observe(self, graph_module: fx.GraphModule) -> Observed:
        """Runs a graph on the inputs."""
        return observe(graph_module, self.inputs, seed=self.seed)

    def judge(
        self,
        manager: PassManager,
        graph_module: fx.GraphModule,
        before: Observed | None = None,
        *,
        copy_of: Callable[[fx.GraphModule], fx.GraphModule] = copied,
    ) -> Wrong | None:
        """Runs `manager` on a copy of `graph_module`, and says what is wrong with the result.

        Args:
            manager: The pipeline; its passes' claims say how outputs may change.
            graph_module: What it is to run on; it is not changed.
            before: What the graph computes as it is, if that is known.
            copy_of: How the copy is made.
        """
        ran = _Ran()
        try:
            result = manager.instrumented(ran)(copy_of(graph_module)).graph_module
        except (PassError, ContractError) as error:
            cause = error.__cause__ or error
            return Wrong(f"raises {type(cause).__name__}", str(error).splitlines()[0], graph=error.after)
        found = problems(result)
        known = {problem.kind for problem in problems(graph_module)} if found else set[str]()
        for problem in found:
            if problem.kind not in known:
                return Wrong(f"malformed {problem.kind}", problem.text, graph=result.graph)
        before = before or self.observe(graph_module)
        try:
            after = self.observe(result)
        except Exception as error:
            text = f"The graph cannot be run any more: {error}"
            return Wrong("does not run", text, before.output, None, result.graph)
        comparison = OutputComparison(before, after, atol=self.atol, rtol=self.rtol)
        difference = comparison.difference(_weakest(ran.claims))
        if difference is None:
            return None
        text = f"The graph returns something else than before: {difference}."
        return Wrong("other values", text, before.output, after.output, result.graph)


class _Ran(Instrument):
    """Collects what the passes that changed something claim about outputs."""

    def __init__(self) -> None:
        self.claims: set[OutputsClaim] = set()

    def after_pass(self, step: Step) -> None:
        if step.after is not step.before:
            self.claims.add(getattr(step.pass_, "outputs_claim", "equal"))


def _weakest(claims: set[OutputsClaim]) -> OutputsClaim:
    if "subset" in claims or {"renamed", "at_birth"} <= claims:
        return "subset"
    if "renamed" in claims:
        return "renamed"
    return "at_birth" if "at_birth" in claims else "equal"
