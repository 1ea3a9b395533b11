"""Records what a forward assigns to buffers of its module while it is traced."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from torch import fx, nn

if TYPE_CHECKING:
    from fxpasses.capture.tracing.tracer import CaptureTracer


@contextmanager
def recorded_assignments(tracer: CaptureTracer) -> Generator[None]:
    """Lets `self.count = self.count + 1`, with a buffer `count`, become a write into the buffer.

    Without it `nn.Module` refuses the assignment, since a proxy is no tensor. What is assigned to any other attribute
    is noted as a loss: the graph will not do it.
    """
    original = cast("Callable[[nn.Module, str, Any], None]", nn.Module.__setattr__)

    def assign(module: nn.Module, name: str, value: Any) -> None:
        if tracer.stands_aside():
            original(module, name, value)
        elif isinstance(value, fx.Proxy) and name in module._buffers:
            tracer.assign_buffer(module, name, value)
        else:
            if module in tracer.tree.paths:  # one that the forward has just made may be gone after it
                tracer.losses.see_assignment(tracer.running_module(), name)
            original(module, name, value)

    nn.Module.__setattr__ = assign  # pyright: ignore[reportAttributeAccessIssue] # its declared values are too few
    try:
        yield
    finally:
        nn.Module.__setattr__ = original  # pyright: ignore[reportAttributeAccessIssue] # as above
