"""Which capture a model gets: by name, or the first that can take it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torch import fx, nn
from torch.export import ExportedProgram

from fxpasses.capture.exported import capture_exported, capture_program
from fxpasses.capture.leaves import is_leaf_class
from fxpasses.capture.leaves import tracer_options as completed
from fxpasses.capture.symbolic import capture_symbolic
from fxpasses.capture.value_tracer import capture_with_values
from fxpasses.errors import ArgumentTypeError, CaptureError
from fxpasses.passes.collapse_leaves import CollapseLeaves

CaptureName = Literal["auto", "export", "symbolic", "values"]
Capture = CaptureName | ExportedProgram | str | os.PathLike[str]
Captured = TypeVar("Captured")


@dataclass(frozen=True)
class Examples:
    """Example inputs of a model; what is in their tensors does not matter.

    Attributes:
        inputs: The positional arguments; None if there are no examples at all.
        kwargs: The arguments by keyword.
    """

    inputs: Any = None
    kwargs: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        return self.inputs is not None or bool(self.kwargs)

    @property
    def args(self) -> Any:
        """The positional arguments, none if there are no examples."""
        return () if self.inputs is None else self.inputs


def captures_to_try(capture: Capture, examples: Examples) -> tuple[Capture, ...]:
    """Returns the captures that `capture` stands for, in the order in which they are tried.

    Raises:
        ArgumentTypeError: An unknown name, or one that needs example inputs without any.

    Example:
        >>> captures_to_try("auto", Examples())
        ('symbolic',)
    """
    if capture == "auto":
        return ("values", "export") if examples else ("symbolic",)
    if capture in ("values", "export") and not examples:
        raise ArgumentTypeError(
            f"capture={capture!r} needs example inputs: pass example_inputs=(…,) or example_kwargs={{…}}."
        )
    is_program = isinstance(capture, (ExportedProgram, os.PathLike)) or str(capture).endswith(".pt2")
    if capture not in ("values", "export", "symbolic") and not is_program:
        raise ArgumentTypeError(
            f"capture={capture!r}: the captures are 'auto', 'symbolic', 'values' and 'export'; an ExportedProgram or the "
            "path of a .pt2 file is one too."
        )
    return (capture,)


def capture_by(
    capture: Capture,
    model: nn.Module,
    training: bool | None,
    examples: Examples,
    tracer_options: Mapping[str, Any] | None = None,
    concrete_args: Mapping[str, Any] | None = None,
) -> fx.GraphModule:
    """Captures `model` in one way.

    Args:
        capture: `"symbolic"`, `"values"`, `"export"`, or an exported program of the model.
        model: The model; it is left as it was.
        training: The mode, or None for each submodule's as it is.
        examples: Needed by all but `"symbolic"`.
        tracer_options: See `fxpasses.capture.leaves.tracer_options`.
        concrete_args: Constants for arguments; for `"symbolic"` alone.

    Raises:
        CaptureError: The model cannot be captured that way.
    """
    if capture == "symbolic":
        return capture_symbolic(
            model, training=training, tracer_options=tracer_options, concrete_args=concrete_args, warn=False
        )
    if concrete_args is not None:
        raise ArgumentTypeError(
            "concrete_args goes with capture='symbolic'; with examples, pass the constant as an example."
        )
    if capture == "values":
        return capture_with_values(
            model, examples.args, examples.kwargs, training=training, tracer_options=tracer_options, warn=False
        )
    if capture == "export":
        exported = capture_exported(model, examples.args, examples.kwargs, training=training)
    else:
        exported = capture_program(capture, model)  # pyright: ignore[reportArgumentType] # not one of the names
    return folded(exported, tracer_options)


def folded(graph_module: fx.GraphModule, tracer_options: Mapping[str, Any] | None = None) -> fx.GraphModule:
    """Turns the operations of each layer of an exported graph back into a call of the layer, in place.

    Args:
        graph_module: A graph module whose record has the calls of all modules.
        tracer_options: Which classes are layers besides those of `torch.nn`.
    """
    leaf_modules = completed(tracer_options)["leaf_modules"]
    return CollapseLeaves([lambda _, kind: is_leaf_class(kind, leaf_modules)])(graph_module).graph_module


def first_working(
    model: nn.Module, captures: Sequence[Capture], make: Callable[[Capture], Captured], has_examples: bool
) -> Captured:
    """Returns what the first capture that works makes.

    Raises:
        CaptureError: None does; the message says what each failed on, and which call would work.
    """
    failures: dict[str, CaptureError] = {}
    for capture in captures:
        try:
            return make(capture)
        except CaptureError as error:
            failures[str(capture)] = error
    last = list(failures.values())[-1]
    if len(failures) > 1:
        parts = "\n".join(f"{name}: {error}" for name, error in failures.items())
        raise CaptureError(f"No capture can take {type(model).__name__}.\n{parts}") from last
    if has_examples or "symbolic" not in failures:
        raise last
    raise CaptureError(
        f"{last}\n  - example_inputs=(x,) traces with the shapes of an example, which answers decisions such as this one"
    ) from last
