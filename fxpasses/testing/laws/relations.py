"""Laws that compare a pass with another one, or its result with its input in size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fxpasses.errors import LawViolation
from fxpasses.testing.laws.fingerprint import first_line_that_differs, program_of
from fxpasses.testing.laws.law import Law, Trial, name_of
from fxpasses.testing.laws.semantics import BOTH
from fxpasses.testing.outcome import run


class CommutesViolation(LawViolation):
    """Two passes whose order matters."""


class ShrinksViolation(LawViolation):
    """A pass that made a graph larger."""


@dataclass(frozen=True)
class Commutes(Law):
    """The pass and another one give the same result in either order.

    Attributes:
        other: The other pass.
        same: Whether the two results compute the same `values`, or are the same `program`, names included.
    """

    other: Any = None
    same: Literal["values", "program"] = "values"
    violation: ClassVar = CommutesViolation
    aspects: ClassVar = ("compared",)

    def check(self, trial: Trial) -> None:
        """Raise `CommutesViolation` unless the law holds."""
        first = trial.apply(trial.apply(trial.subject.fresh()).graph_module, self.other).graph_module
        second = trial.apply(trial.apply(trial.subject.fresh(), self.other).graph_module).graph_module
        names = f"{name_of(trial.pass_)} and {name_of(self.other)}"
        if self.same == "program":
            found = first_line_that_differs(program_of(second), program_of(first))
            if found is not None:
                trial.fail(f"the order of {names} matters: {found}")
        args, kwargs = trial.subject.inputs()
        for mode in BOTH:
            found = run(second, args, kwargs, mode=mode).difference(run(first, args, kwargs, mode=mode))
            if found is not None:
                trial.fail(f"the order of {names} matters in {mode} mode: {found}")
        trial.fired("compared")


@dataclass(frozen=True)
class Shrinks(Law):
    """The result is not larger than the input.

    Attributes:
        what: What is counted: the `nodes` of the graph, or its `operations` without inputs and attributes.
    """

    what: Literal["nodes", "operations"] = "nodes"
    violation: ClassVar = ShrinksViolation
    aspects: ClassVar = ("counted",)
    script: ClassVar = "assert len(transformed.graph.nodes) <= len(traced.graph.nodes)"

    def check(self, trial: Trial) -> None:
        """Raise `ShrinksViolation` unless the law holds."""
        before, after = self._count(trial.subject.before), self._count(trial.result.graph_module)
        if after > before:
            trial.fail(f"the graph grew from {before} to {after} {self.what}")
        trial.fired("counted")
        if after < before:
            trial.fired("smaller")

    def _count(self, graph_module: Any) -> int:
        nodes = list(graph_module.graph.nodes)
        return len([node for node in nodes if self.what == "nodes" or node.op.startswith("call")])
