"""Which captures a model takes, and what stops the others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from fxpasses.errors import FxpassesError
from fxpasses.feature_extraction.captures import CaptureName, Examples, capture_by
from fxpasses.passes.name_nodes import NameNodes, names_of


@dataclass(frozen=True)
class CaptureTrial:
    """How one capture of a model in one mode went.

    Attributes:
        capture: The capture's name.
        mode: `train` or `eval`.
        seconds: How long it took.
        names: How many values can be asked for; 0 if it failed.
        failure: What stopped it; None if it worked.
    """

    capture: CaptureName
    mode: str
    seconds: float
    names: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The trials of all captures; prints as a table, with the failures in full below it."""

    model: str
    trials: tuple[CaptureTrial, ...]

    def __str__(self) -> str:
        rows = [("capture", "mode", "seconds", "names", "")]
        rows += [
            (trial.capture, trial.mode, f"{trial.seconds:.2f}", str(trial.names or "-"), _first_line(trial))
            for trial in self.trials
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]) for row in rows
        ]
        failures = dict.fromkeys(trial.failure for trial in self.trials if trial.failure)
        return "\n".join([self.model, *(line.rstrip() for line in lines), *(f"\n{failure}" for failure in failures)])


def diagnose(
    model: nn.Module, example_inputs: Any = None, example_kwargs: Mapping[str, Any] | None = None
) -> Diagnosis:
    """Tries every capture on `model` in both modes, and leaves the model as it was.

    Args:
        model: The model.
        example_inputs: Positional arguments of its forward; without examples the symbolic capture alone is tried.
        example_kwargs: Arguments by keyword.

    Example:
        >>> diagnosis = diagnose(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
        >>> [(trial.capture, trial.mode, trial.names, trial.failure) for trial in diagnosis.trials]
        [('symbolic', 'eval', 3, None), ('symbolic', 'train', 3, None)]
    """
    examples = Examples(example_inputs, example_kwargs)
    captures: tuple[CaptureName, ...] = ("symbolic", "values", "export") if examples else ("symbolic",)
    trials = [_trial(capture, mode, model, examples) for capture in captures for mode in ("eval", "train")]
    return Diagnosis(type(model).__name__, tuple(trials))


def _trial(capture: CaptureName, mode: str, model: nn.Module, examples: Examples) -> CaptureTrial:
    began = time.perf_counter()
    try:
        named = NameNodes()(capture_by(capture, model, mode == "train", examples)).graph_module
    except FxpassesError as error:
        return CaptureTrial(capture, mode, time.perf_counter() - began, failure=str(error))
    return CaptureTrial(capture, mode, time.perf_counter() - began, len(names_of(named, "exact")))


def _first_line(trial: CaptureTrial) -> str:
    return "ok" if trial.failure is None else trial.failure.splitlines()[0]
