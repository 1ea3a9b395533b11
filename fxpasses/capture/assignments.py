"""Records what a forward assigns to buffers of its module while it is traced."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import fx, nn

if TYPE_CHECKING:
    from fxpasses.capture.tracer import CaptureTracer


@contextmanager
def recorded_assignments(tracer: CaptureTracer) -> Generator[None]:
    """Lets `self.count = self.count + 1`, with a buffer `count`, become a write into the buffer.

    Without it `nn.Module` refuses the assignment, since a proxy is no tensor. Applies to proxies of `tracer` alone.
    """
    original = nn.Module.__setattr__

    def assign(module: nn.Module, name: str, value: Any) -> None:
        is_buffer = isinstance(value, fx.Proxy) and name in module.__dict__.get("_buffers", ())
        if is_buffer and value.tracer is tracer:
            tracer.assign_buffer(module, name, value)
        else:
            original(module, name, value)

    nn.Module.__setattr__ = assign
    try:
        yield
    finally:
        nn.Module.__setattr__ = original
