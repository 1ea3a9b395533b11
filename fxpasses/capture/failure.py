"""Says why a model could not be captured: the module, the file, the line, and the ways out."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from torch import nn

from fxpasses.capture.source import last_user_frame
from fxpasses.errors import CaptureError


def capture_failure(model: nn.Module, error: Exception, stack: Sequence[tuple[str, Any]]) -> CaptureError:
    """Makes the error for a trace of `model` that ended in `error`.

    Args:
        model: The model that was traced.
        error: What the trace raised.
        stack: Path and class of each module whose forward was running, outermost first.
    """
    path, module_type = stack[-1] if stack else ("", type(model))
    name = module_type.__name__ if isinstance(module_type, type) else str(module_type)
    place = f"module {path!r} ({name})" if path else f"the model's own forward ({name})"
    return CaptureError(
        f"{type(model).__name__} cannot be traced symbolically: {place}, {source_line(error)}\n"
        f"  {type(error).__name__}: {first_line(error)}\n" + _ways_out(name, bool(path))
    )


def source_line(error: Exception) -> str:
    """Returns the line of the model's own source on which `error` was raised, as text."""
    frame = last_user_frame(traceback.extract_tb(error.__traceback__))
    if frame is None:
        return "no line of the model's own source is on the stack"
    return f'file "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'


def first_line(error: Exception) -> str:
    r"""Returns the first line in which an exception says something; its class if it says nothing.

    Example:
        >>> first_line(ValueError("\nno such size\nat all")), first_line(AssertionError())
        ('no such size', 'AssertionError')
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _ways_out(name: str, has_parent: bool) -> str:
    ways = [
        "concrete_args={'argument': value} makes an argument of forward a constant",
        "tracer_kwargs={'autowrap_functions': (function,)} records a function whole",
    ]
    if has_parent:
        ways.insert(0, f"leaf_modules=({name},) keeps that module whole: one node, nothing inside it to extract")
    return "\n".join(f"  - {way}" for way in ("Ways out:", *ways)).replace("  - Ways out:", "Ways out:")
