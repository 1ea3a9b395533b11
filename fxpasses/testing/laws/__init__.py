"""The laws of graph passes: one class and one error type each."""

from __future__ import annotations

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
from fxpasses.testing.laws.law import FIRED, Law, PassLike, Transformed, Trial, name_of, transform
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

__all__ = [
    "DEFAULT_LAWS",
    "FIRED",
    "Commutes",
    "CommutesViolation",
    "Deterministic",
    "DeterministicViolation",
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
    "PassLike",
    "PreservesInput",
    "PreservesInputViolation",
    "PreservesMeta",
    "PreservesMetaViolation",
    "PreservesSignature",
    "PreservesSignatureViolation",
    "PreservesState",
    "PreservesStateViolation",
    "Shrinks",
    "ShrinksViolation",
    "SurvivesCopying",
    "SurvivesCopyingViolation",
    "Transformed",
    "Trial",
    "WellFormed",
    "WellFormedViolation",
    "laws_for",
    "name_of",
    "transform",
]
