"""Laws that a pass chooses by what its class claims, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from fxpasses.errors import LawViolation
from fxpasses.graph.bits import first_difference
from fxpasses.graph.divergence import values_at_birth
from fxpasses.graph.facts import CALLS, NAMES
from fxpasses.graph.observe import observe
from fxpasses.manager import Pass
from fxpasses.manager.contract import OutputsClaim
from fxpasses.manager.outputs import OutputComparison
from fxpasses.testing.laws.law import Law, PassLike, Trial
from fxpasses.testing.laws.preservation import PreservesInput, PreservesMeta, PreservesSignature, PreservesState
from fxpasses.testing.laws.repetition import Deterministic, HonestFlag, Idempotent
from fxpasses.testing.laws.semantics import Equivalent, SurvivesCopying, WellFormed
from fxpasses.testing.outcome import run


class InPlaceViolation(LawViolation):
    """A pass that returns another graph module than its class says."""


class KeepsFactsViolation(LawViolation):
    """A pass that does not provide or preserve what its class says."""


class OutputsViolation(LawViolation):
    """A pass whose outputs are not what its class says."""


@dataclass(frozen=True)
class InPlace(Law):
    """The result is the given graph module if the class claims `in_place`, and another one if not."""

    violation: ClassVar = InPlaceViolation
    aspects: ClassVar = ("compared",)
    script: ClassVar = "given = copy.deepcopy(traced)\nassert (pass_(given)[0] is given) == pass_.in_place"

    def check(self, trial: Trial) -> None:
        """Raise `InPlaceViolation` unless the law holds."""
        claim: bool = getattr(trial.pass_, "in_place", True)
        given, after, _modified = trial.result
        if claim and after is not given:
            trial.fail("the class claims in_place, and another graph module was returned")
        if not claim and after is given:
            trial.fail("the class claims not to work in place, and the given graph module was returned")
        trial.fired("compared")


@dataclass(frozen=True)
class KeepsFacts(Law):
    """The facts that the class provides hold after it, and those that it preserves still hold."""

    violation: ClassVar = KeepsFactsViolation
    aspects: ClassVar = ("compared",)
    script: ClassVar = "print({fact.name: fact.holds(transformed) for fact in pass_.provides})"

    def check(self, trial: Trial) -> None:
        """Raise `KeepsFactsViolation` unless the law holds."""
        claims: Any = trial.pass_
        after = trial.result.graph_module
        for fact in sorted(claims.provides, key=str):
            if not fact.holds(after):
                trial.fail(f"the class provides {fact}, which does not hold after it")
            trial.fired("provided")
        for fact in sorted(_listed(claims.preserves), key=str):
            if fact.holds(trial.subject.before) and not fact.holds(after):
                trial.fail(f"the class preserves {fact}, which held before it and does not hold after it")
            trial.fired("preserved")
        trial.fired("compared")


def _listed(facts: Any) -> list[Any]:
    # A set that stands for all facts cannot be listed: those of fxpasses are looked at.
    return list(facts) or [fact for fact in (CALLS, NAMES) if fact in facts]


@dataclass(frozen=True)
class OutputsAsClaimed(Law):
    """The outputs are what the class claims.

    `equal` is `Equivalent` and `PreservesSignature`, and not looked at here. Outputs `at_birth` are what they were when
    they were made; what a `subset` and `renamed` outputs are, `fxpasses.manager.outputs` says.
    """

    seed: int = 0
    violation: ClassVar = OutputsViolation
    aspects: ClassVar = ("compared",)

    def check(self, trial: Trial) -> None:
        """Raise `OutputsViolation` unless the law holds."""
        claim: OutputsClaim = getattr(trial.pass_, "outputs_claim", "equal")
        args, kwargs = trial.subject.inputs()
        after = run(trial.result.graph_module, args, kwargs, seed=self.seed).output
        if isinstance(after, Exception):
            trial.fail(f"the result raises {after!r}")
        if claim == "at_birth":
            self._check_births(trial, after)
        elif claim in ("subset", "renamed"):
            self._check_known(trial, claim)
        trial.fired("compared")

    def _check_births(self, trial: Trial, after: Any) -> None:
        before = trial.subject.before
        args, kwargs = trial.subject.inputs()
        births = values_at_birth(before, args, kwargs, seed=self.seed)
        expected = torch.fx.map_arg(before.graph.output_node().args[0], lambda node: births[node.name])
        found = first_difference(after, expected)
        if found is not None:
            trial.fail(f"an output is not what it was at its birth: {found}")

    def _check_known(self, trial: Trial, claim: OutputsClaim) -> None:
        args, kwargs = trial.subject.inputs()
        graph_modules = (trial.subject.before, trial.result.graph_module)
        before, after = (observe(each, args, kwargs, seed=self.seed) for each in graph_modules)
        found = OutputComparison(before, after).difference(claim)
        if found is not None:
            trial.fail(found)


DEFAULT_LAWS: tuple[Law, ...] = (
    WellFormed(),
    Equivalent(),
    PreservesInput(),
    PreservesSignature(),
    PreservesState(),
    PreservesMeta(),
    HonestFlag(),
    Idempotent(),
    Deterministic(),
    SurvivesCopying(),
)
"""What any pass that keeps the meaning of a graph is expected to obey."""


def laws_for(pass_: PassLike) -> tuple[Law, ...]:
    """The laws that a pass claims.

    A subclass of `fxpasses.manager.Pass` claims them by its class variables. Anything else is taken to keep the
    meaning of a graph.

    Example:
        >>> laws_for(lambda graph_module: None) == DEFAULT_LAWS
        True
    """
    if not isinstance(pass_, Pass):
        return DEFAULT_LAWS
    claimed: Sequence[Law] = (InPlace(), KeepsFacts(), OutputsAsClaimed())
    if pass_.outputs_claim == "equal":
        return (*DEFAULT_LAWS, *claimed)
    dropped = (Equivalent, PreservesSignature)
    return (*(law for law in DEFAULT_LAWS if not isinstance(law, dropped)), *claimed)
