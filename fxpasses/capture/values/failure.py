"""Says why a value capture failed: on a decision that only data can answer, on examples that do not fit, or else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx, nn

from fxpasses.capture.failure import first_line, source_line
from fxpasses.capture.values.decisions import NOWHERE, Place
from fxpasses.errors import CaptureError

_ASKS = {"bool": "a branch", "int": "an integer", "float": "a number", "len": "a length", "complex": "a number"}


def data_decision(place: Place, module: str, kind: str, node: fx.Node, value: Any) -> CaptureError:
    """Makes the error for a decision that depends on what is in a tensor."""
    needed = _ASKS.get(kind, "a value")
    held = "" if value is None else f" ({_described(value)})"
    return CaptureError(
        f"The forward decides on data: {_inside(module)}, {_line(place)}\n"
        f"  {needed} depends on {node.name!r}{held}, which has no value before the model runs.\n"
        "Ways out:\n"
        "  - leaf_modules=(TheModule,) keeps the module around that line whole\n"
        "  - tracer_kwargs={'autowrap_functions': (function,)} records a function whole\n"
        "  - torch.where, masks or torch.cond in place of the branch"
    )


def example_failure(node: fx.Node, places: Mapping[fx.Node, Place], error: Exception) -> CaptureError:
    """Makes the error for an operation that fails on the example inputs."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return CaptureError(
        f"The example inputs do not fit: {node.name!r} {_inside(path)}, {_line(places.get(node, NOWHERE))}\n"
        f"  {type(error).__name__}: {first_line(error)}\n"
        "Check that the model itself runs on them: model(*example_inputs, **example_kwargs)."
    )


def value_failure(model: nn.Module, error: Exception, stack: Sequence[tuple[str, Any]]) -> CaptureError:
    """Makes the error for a value capture that ended in `error` for any other reason.

    Args:
        model: The model that was captured.
        error: What the trace raised.
        stack: Path and class of each module whose forward was running, outermost first.
    """
    path, kind = stack[-1] if stack else ("", type(model))
    name = getattr(kind, "__name__", str(kind))
    return CaptureError(
        f"{type(model).__name__} cannot be traced with values: {_inside(path)} ({name}), {source_line(error)}\n"
        f"  {type(error).__name__}: {first_line(error)}\n"
        "Ways out:\n"
        f"  - leaf_modules=({name},) keeps that module whole: one node, nothing inside it to extract\n"
        "  - capture='export' goes through torch.export"
    )


def _inside(path: str) -> str:
    return f"in module {path!r}" if path else "in the model's own forward"


def _line(place: Place) -> str:
    return (
        f'file "{place.file}", line {place.line}: {place.source}' if place.file else "at no line of the model's source"
    )


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"a tensor of shape {tuple(shape)} and dtype {value.dtype}"
