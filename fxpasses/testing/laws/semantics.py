"""Laws about what a graph is and computes: well-formed, equivalent, and still so after a copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import fx

from fxpasses.errors import LawViolation, VerificationError
from fxpasses.graph.verify import verify
from fxpasses.testing.laws.fingerprint import first_line_that_differs, program_of
from fxpasses.testing.laws.law import Law, Trial
from fxpasses.testing.outcome import Mode, Outcome, run, state_restored

BOTH: tuple[Mode, ...] = ("train", "eval")


class WellFormedViolation(LawViolation):
    """A graph that is malformed, or whose generated code does something else than its nodes."""


class EquivalentViolation(LawViolation):
    """A graph that computes something else than the one that it was made of."""


class SurvivesCopyingViolation(LawViolation):
    """A graph that a deep copy, a pickle or another trace changes or breaks."""


@dataclass(frozen=True)
class WellFormed(Law):
    """The graph passes `Graph.lint` and `fxpasses.graph.verify`, and interpreting it equals running its code."""

    violation: ClassVar = WellFormedViolation
    aspects: ClassVar = ("verified", "interpreted")
    script: ClassVar = "transformed.graph.lint()\ntransformed.recompile()\ncheck_same(run(transformed, interpret=True), run(transformed))"

    def check(self, trial: Trial) -> None:
        """Raise `WellFormedViolation` unless the law holds."""
        graph_module = trial.result.graph_module
        try:
            graph_module.graph.lint()
            verify(graph_module)
        except (RuntimeError, VerificationError) as error:
            trial.fail(f"the graph is malformed: {error}")
        trial.fired("verified")
        code = graph_module.code
        graph_module.recompile()
        if graph_module.code != code:
            trial.fail("compiling the same graph twice gives different code")
        args, kwargs = trial.subject.inputs()
        compiled = run(graph_module, args, kwargs)
        found = run(graph_module, args, kwargs, interpret=True).difference(compiled)
        if found is not None and not isinstance(compiled.output, Exception):
            trial.fail(f"interpreting the graph is not what its code does: {found}")
        trial.fired("interpreted")


@dataclass(frozen=True)
class Equivalent(Law):
    """The graph computes what it computed before.

    Outputs, the state of buffers and parameters, written inputs and the use of random numbers are compared.

    Attributes:
        atol: How far elements may be apart; by default every bit counts.
        rtol: How far elements may be apart, as a share of the expected ones.
        modes: In which modes; a pass that is right in one of them only says so here.
        seed: What the random generator is seeded with before each run.
    """

    atol: float = 0.0
    rtol: float = 0.0
    modes: tuple[Mode, ...] = BOTH
    seed: int = 0
    violation: ClassVar = EquivalentViolation
    aspects: ClassVar = ("compared", "the graph was changed")
    script: ClassVar = "check_same(run(transformed), run(traced))"

    def check(self, trial: Trial) -> None:
        """Raise `EquivalentViolation` unless the law holds."""
        before, after = trial.subject.before, trial.result.graph_module
        for mode in self.modes:
            expected, actual = trial.subject.outcome(mode, self.seed), trial.outcome(mode, self.seed)
            found = actual.difference(expected, atol=self.atol, rtol=self.rtol)
            if found is not None:
                trial.fail(f"in {mode} mode, {found}", mode)
            trial.fired("compared")
        if trial.result.modified is not False and program_of(before) != program_of(after):
            trial.fired("the graph was changed")


@dataclass(frozen=True)
class SurvivesCopying(Law):
    """A deep copy, a pickle and another trace of the result behave as the result does, in both modes.

    A copy that already fails for the graph before the pass is not counted against the pass.
    """

    violation: ClassVar = SurvivesCopyingViolation
    aspects: ClassVar = ("deep copy", "pickle", "trace")
    script: ClassVar = "check_same(run(copy.deepcopy(transformed)), run(transformed))\ncheck_same(run(pickle.loads(pickle.dumps(transformed))), run(transformed))"

    def check(self, trial: Trial) -> None:
        """Raise `SurvivesCopyingViolation` unless the law holds."""
        after = _Original(trial.result.graph_module, trial.outcome, trial)
        known = _Original(trial.subject.before, trial.subject.outcome, trial)
        for way in self.aspects:
            faults = after.faults_of_a(way)
            # A copy is slow: of the graph before the pass one is made only where something is wrong with the result's.
            excused = known.faults_of_a(way) if faults else {}
            trial.fired(way)
            for kind, fault in faults.items():
                if kind not in excused and "failure" not in excused:
                    trial.fail(f"a {way} of the result {fault}")


_WAYS: dict[str, Callable[[fx.GraphModule], fx.GraphModule]] = {
    "deep copy": copy.deepcopy,
    "pickle": lambda graph_module: pickle.loads(pickle.dumps(graph_module)),
    "trace": lambda graph_module: _traced(graph_module),
}


def _traced(graph_module: fx.GraphModule) -> fx.GraphModule:
    with state_restored(graph_module):  # a trace runs what involves no input, such as writes into buffers
        return fx.symbolic_trace(graph_module)


@dataclass(frozen=True)
class _Original:
    """A graph module that copies are compared with, and what its runs do."""

    graph_module: fx.GraphModule
    outcome: Callable[[Mode], Outcome]
    trial: Trial

    def faults_of_a(self, way: str) -> dict[str, str]:
        """Copies the graph module; says in which respects the copy is another one."""
        try:
            copied = _WAYS[way](self.graph_module)
        except Exception as error:
            return {"failure": f"fails: {error!r}"}
        faults: dict[str, str] = {}
        if copied.training != self.graph_module.training:
            faults["mode"] = "is in another mode"
        # A pickle of torch's own graph modules is a new trace, which keeps no name that a pass chose.
        program = partial(program_of, own_names=way != "pickle")
        found = None if way == "trace" else first_line_that_differs(program(copied), program(self.graph_module))
        if found is not None:
            faults["graph"] = f"has another graph: {found}"
        for mode in BOTH:
            found = run(copied, *self.trial.subject.inputs(), mode=mode).difference(self.outcome(mode))
            if found is not None:
                faults[mode] = f"behaves differently in {mode} mode: {found}"
        return faults
