"""Which captures a model takes, and what stops the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from fxpasses.errors import FxpassesError
from fxpasses.feature_extraction.captures import CaptureName, Examples, capture_by
from fxpasses.graph.values import NamedValues
from fxpasses.passes.name_nodes import NameNodes, names_of

COLUMNS = ("capture", "mode", "seconds", "nodes", "modules", "result")


@dataclass(frozen=True)
class CaptureTrial:
    """How one capture of a model in one mode went.

    Attributes:
        capture: The capture's name.
        mode: `train` or `eval`.
        seconds: How long it took.
        nodes: How many nodes the graph has; 0 if it failed.
        names: How many values have a name of their own; 0 if it failed.
        modules: How many of the model's modules can be asked for; 0 if it failed.
        failure: What stopped it, with the module and the line of source; None if it worked.
    """

    capture: CaptureName
    mode: str
    seconds: float
    nodes: int = 0
    names: int = 0
    modules: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The trials of all captures; prints as a table, with the failures in full and a call that works below it.

    Attributes:
        model: Name of the model's class.
        modules: How many modules the model has, itself aside.
        trials: One a capture and mode.
        arguments: The examples and the leaves as arguments of a call.
    """

    model: str
    modules: int
    trials: tuple[CaptureTrial, ...]
    arguments: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the cells of the table below `COLUMNS`."""
        return [
            (
                trial.capture,
                trial.mode,
                f"{trial.seconds:.2f}",
                str(trial.nodes or "-"),
                f"{trial.modules} of {self.modules}" if trial.failure is None else "-",
                "ok" if trial.failure is None else trial.failure.splitlines()[0],
            )
            for trial in self.trials
        ]

    def failures(self) -> list[str]:
        """Returns the causes in full, each once."""
        return list(dict.fromkeys(trial.failure for trial in self.trials if trial.failure))

    def call(self) -> str | None:
        """Returns the call that makes an extractor of both modes, or of one if no capture takes both; None if none does."""
        working = {trial.capture for trial in self.trials} - {trial.capture for trial in self.trials if trial.failure}
        mode = self.only_mode()
        if mode is not None:
            working = {trial.capture for trial in self.trials if trial.mode == mode and not trial.failure}
        if not working:
            return None
        needed = [each for each in self.arguments if "symbolic" not in working or not each.startswith("example_")]
        needed += [] if mode is None else [f"mode={mode!r}"]
        return f"create_feature_extractor({', '.join(['model', 'names', *needed])})"

    def only_mode(self) -> str | None:
        """Returns the mode that some capture takes, if no capture takes both modes."""
        taken = [(trial.capture, trial.mode) for trial in self.trials if trial.failure is None]
        both = any((capture, "train") in taken and (capture, "eval") in taken for capture, _ in taken)
        return None if both or not taken else taken[0][1]

    def __str__(self) -> str:
        table = [COLUMNS, *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return "\n".join([self.model, *lines, *(f"\n{failure}" for failure in self.failures()), f"\n{self.advice()}"])

    def advice(self) -> str:
        """Returns what to do now, as a sentence."""
        call = self.call()
        if call is not None:
            mode = self.only_mode()
            return f"This works{'' if mode is None else f', in {mode} mode alone'}: {call}"
        if {trial.capture for trial in self.trials} == {"symbolic"}:
            return "Examples may help: create_feature_extractor(model, names, example_inputs=(…,))"
        return "No capture takes the model: the causes above name the ways out."


def diagnose(
    model: nn.Module,
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
    leaf_modules: Sequence[type[nn.Module]] = (),
) -> Diagnosis:
    """Tries every capture on `model` in both modes, and leaves the model as it was.

    Args:
        model: The model.
        example_inputs: Positional arguments of its forward; without examples the symbolic capture alone is tried.
        example_kwargs: Arguments by keyword.
        leaf_modules: As for `create_feature_extractor`.

    Example:
        >>> diagnosis = diagnose(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
        >>> [(trial.capture, trial.mode, trial.modules, trial.failure) for trial in diagnosis.trials]
        [('symbolic', 'eval', 2, None), ('symbolic', 'train', 2, None)]
        >>> diagnosis.call()
        'create_feature_extractor(model, names)'
    """
    examples = Examples(example_inputs, example_kwargs)
    captures: tuple[CaptureName, ...] = ("symbolic", "values", "export") if examples else ("symbolic",)
    paths = [path for path, _ in model.named_modules() if path]
    tried: list[tuple[CaptureName, str]] = [(capture, mode) for capture in captures for mode in ("eval", "train")]
    trials = tuple(_trial(capture, mode, model, paths, examples, leaf_modules) for capture, mode in tried)
    leaves = [f"leaf_modules=({', '.join(each.__name__ for each in leaf_modules)},)"] if leaf_modules else []
    return Diagnosis(type(model).__name__, len(paths), trials, (*_as_arguments(examples), *leaves))


def _trial(
    capture: CaptureName,
    mode: str,
    model: nn.Module,
    paths: Sequence[str],
    examples: Examples,
    leaf_modules: Sequence[type[nn.Module]],
) -> CaptureTrial:
    began = time.perf_counter()
    try:
        captured = capture_by(capture, model, mode == "train", examples, {"leaf_modules": leaf_modules})
    except FxpassesError as error:
        return CaptureTrial(capture, mode, time.perf_counter() - began, failure=str(error))
    seconds = time.perf_counter() - began
    named = NameNodes()(captured).graph_module
    values = NamedValues(named)
    modules = sum(path in values for path in paths)
    return CaptureTrial(capture, mode, seconds, len(named.graph.nodes), len(names_of(named, "exact")), modules)


def _as_arguments(examples: Examples) -> tuple[str, ...]:
    """Spells out the examples as keyword arguments of `create_feature_extractor`."""
    found: list[str] = []
    if examples.inputs is not None:
        inputs = examples.inputs
        found.append(f"example_inputs={_spelled((inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs))}")
    if examples.kwargs:
        found.append(f"example_kwargs={_spelled(dict(examples.kwargs))}")
    return tuple(found)


def _spelled(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        dtype = "" if value.dtype == torch.get_default_dtype() else f", dtype={value.dtype}"
        return f"torch.empty({tuple(value.shape)}{dtype})"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {_spelled(each)}" for key, each in value.items()) + "}"
    if type(value) in (list, tuple):
        inside = ", ".join(_spelled(each) for each in cast("Sequence[Any]", value))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)
