"""Laws about running a pass more than once: idempotent, honest about changes, deterministic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fxpasses.errors import LawViolation
from fxpasses.testing.laws.fingerprint import first_line_that_differs, meta_of, modules_of, program_of
from fxpasses.testing.laws.law import NOTHING_CLAIMED, Law, Trial
from fxpasses.testing.subject import deep_copy


class IdempotentViolation(LawViolation):
    """A pass that changes its own result."""


class HonestFlagViolation(LawViolation):
    """A pass whose `modified` is not true."""


class DeterministicViolation(LawViolation):
    """A pass that gives different results for equal inputs."""


@dataclass(frozen=True)
class Idempotent(Law):
    """Running the pass on its own result changes nothing, and the second run says so."""

    violation: ClassVar = IdempotentViolation
    aspects: ClassVar = ("ran twice",)
    script: ClassVar = "once = apply(copy.deepcopy(traced))\ntwice = apply(copy.deepcopy(once))\nassert once.code == twice.code, once.code + twice.code"

    def check(self, trial: Trial) -> None:
        """Raise `IdempotentViolation` unless the law holds."""
        once = trial.result.graph_module
        again = trial.apply(deep_copy(once))
        found = first_line_that_differs(program_of(again.graph_module), program_of(once))
        if found is not None:
            trial.fail(f"a second run changes the graph again: {found}")
        if again.modified:
            trial.fail("the graph does not change in a second run, which says that it does")
        trial.fired("ran twice")


@dataclass(frozen=True)
class HonestFlag(Law):
    """`modified` is true if the program changed, and false if neither it nor any meta did."""

    violation: ClassVar = HonestFlagViolation
    aspects: ClassVar = ("judged",)
    script: ClassVar = "given = copy.deepcopy(traced)\nbefore = str(given.graph)\nresult = pass_(given)\nprint(result[1], str(result[0].graph) != before)\nassert result[1] == (str(result[0].graph) != before)"

    def check(self, trial: Trial) -> None:
        """Raise `HonestFlagViolation` unless the law holds."""
        before, result = trial.watched, trial.watched.result
        if result.modified is None:
            trial.fired(NOTHING_CLAIMED)
            return
        graph_module = result.graph_module
        found = first_line_that_differs(program_of(graph_module), before.program)
        found = found or first_line_that_differs(modules_of(graph_module), before.modules)
        if found is not None and not result.modified:
            trial.fail(f"the pass says that it changed nothing, and it did: {found}")
        if found is None and result.modified and meta_of(graph_module) == before.meta:
            trial.fail("the pass says that it changed something, and graph, modules and meta are what they were")
        trial.fired("judged")
        trial.fired("modified" if result.modified else "not modified")


@dataclass(frozen=True)
class Deterministic(Law):
    """Equal inputs give equal graphs, names included.

    Attributes:
        runs: How many copies of the graph the pass is run on, 2 or more; each lies elsewhere in memory, which decides
            the order in which a set of nodes is visited.
    """

    runs: int = 3
    violation: ClassVar = DeterministicViolation
    aspects: ClassVar = ("compared",)
    script: ClassVar = "assert len({apply(copy.deepcopy(traced)).code for _ in range(5)}) == 1"

    def check(self, trial: Trial) -> None:
        """Raise `DeterministicViolation` unless the law holds."""
        results = [trial.result, trial.watched.result]  # of the same pass, each on a copy of its own
        while len(results) < self.runs:
            results.append(trial.apply(trial.subject.fresh()))
        first = program_of(trial.result.graph_module)
        for each in results[1:]:
            found = first_line_that_differs(program_of(each.graph_module), first)
            if found is not None:
                trial.fail(f"a run on an equal graph gives another result: {found}")
        trial.fired("compared")
