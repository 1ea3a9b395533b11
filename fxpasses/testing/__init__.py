"""Property tests for graph transforms: `check_pass` for one model, `strategies` for all models.

The checks need torch only; `fxpasses.testing.strategies` and `pass_suite` need hypothesis, the extra `[testing]`.
Importing the package imports neither: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxpasses.graph.divergence import Divergence, first_divergence
    from fxpasses.graph.reduce import Reduced, minimize
    from fxpasses.testing.case import Case
    from fxpasses.testing.checks import Total, TotalViolation, check_pass
    from fxpasses.testing.golden import assert_golden
    from fxpasses.testing.laws.claims import (
        DEFAULT_LAWS,
        InPlace,
        InPlaceViolation,
        KeepsFacts,
        KeepsFactsViolation,
        OutputsAsClaimed,
        OutputsViolation,
        laws_for,
    )
    from fxpasses.testing.laws.law import FIRED, Law, Trial
    from fxpasses.testing.laws.preservation import (
        PreservesInput,
        PreservesInputViolation,
        PreservesMeta,
        PreservesMetaViolation,
        PreservesSignature,
        PreservesSignatureViolation,
        PreservesState,
        PreservesStateViolation,
    )
    from fxpasses.testing.laws.processes import SameInEveryProcess, SameInEveryProcessViolation
    from fxpasses.testing.laws.relations import Commutes, CommutesViolation, Shrinks, ShrinksViolation
    from fxpasses.testing.laws.repetition import (
        Deterministic,
        DeterministicViolation,
        HonestFlag,
        HonestFlagViolation,
        Idempotent,
        IdempotentViolation,
    )
    from fxpasses.testing.laws.semantics import (
        Equivalent,
        EquivalentViolation,
        SurvivesCopying,
        SurvivesCopyingViolation,
        WellFormed,
        WellFormedViolation,
    )
    from fxpasses.testing.repro import save_repro
    from fxpasses.testing.shared_run import SharedRun, VacuousLawError
    from fxpasses.testing.source import to_source
    from fxpasses.testing.suite import pass_suite

# Each public name, by the module that a first use imports.
_HOMES = {
    "fxpasses.graph.divergence": ["Divergence", "first_divergence"],
    "fxpasses.graph.reduce": ["Reduced", "minimize"],
    "fxpasses.testing.case": ["Case"],
    "fxpasses.testing.checks": ["Total", "TotalViolation", "check_pass"],
    "fxpasses.testing.golden": ["assert_golden"],
    "fxpasses.testing.laws.claims": [
        "DEFAULT_LAWS",
        "InPlace",
        "InPlaceViolation",
        "KeepsFacts",
        "KeepsFactsViolation",
        "OutputsAsClaimed",
        "OutputsViolation",
        "laws_for",
    ],
    "fxpasses.testing.laws.law": ["FIRED", "Law", "Trial"],
    "fxpasses.testing.laws.preservation": [
        "PreservesInput",
        "PreservesInputViolation",
        "PreservesMeta",
        "PreservesMetaViolation",
        "PreservesSignature",
        "PreservesSignatureViolation",
        "PreservesState",
        "PreservesStateViolation",
    ],
    "fxpasses.testing.laws.processes": ["SameInEveryProcess", "SameInEveryProcessViolation"],
    "fxpasses.testing.laws.relations": ["Commutes", "CommutesViolation", "Shrinks", "ShrinksViolation"],
    "fxpasses.testing.laws.repetition": [
        "Deterministic",
        "DeterministicViolation",
        "HonestFlag",
        "HonestFlagViolation",
        "Idempotent",
        "IdempotentViolation",
    ],
    "fxpasses.testing.laws.semantics": [
        "Equivalent",
        "EquivalentViolation",
        "SurvivesCopying",
        "SurvivesCopyingViolation",
        "WellFormed",
        "WellFormedViolation",
    ],
    "fxpasses.testing.repro": ["save_repro"],
    "fxpasses.testing.shared_run": ["SharedRun", "VacuousLawError"],
    "fxpasses.testing.source": ["to_source"],
    "fxpasses.testing.suite": ["pass_suite"],
}
_SUBMODULES = ("laws", "models", "pytest_plugin", "strategies")

__all__ = [
    "DEFAULT_LAWS",
    "FIRED",
    "Case",
    "Commutes",
    "CommutesViolation",
    "Deterministic",
    "DeterministicViolation",
    "Divergence",
    "Equivalent",
    "EquivalentViolation",
    "HonestFlag",
    "HonestFlagViolation",
    "Idempotent",
    "IdempotentViolation",
    "InPlace",
    "InPlaceViolation",
    "KeepsFacts",
    "KeepsFactsViolation",
    "Law",
    "OutputsAsClaimed",
    "OutputsViolation",
    "PreservesInput",
    "PreservesInputViolation",
    "PreservesMeta",
    "PreservesMetaViolation",
    "PreservesSignature",
    "PreservesSignatureViolation",
    "PreservesState",
    "PreservesStateViolation",
    "Reduced",
    "SameInEveryProcess",
    "SameInEveryProcessViolation",
    "SharedRun",
    "Shrinks",
    "ShrinksViolation",
    "SurvivesCopying",
    "SurvivesCopyingViolation",
    "Total",
    "TotalViolation",
    "Trial",
    "VacuousLawError",
    "WellFormed",
    "WellFormedViolation",
    "assert_golden",
    "check_pass",
    "first_divergence",
    "laws_for",
    "minimize",
    "pass_suite",
    "save_repro",
    "to_source",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
