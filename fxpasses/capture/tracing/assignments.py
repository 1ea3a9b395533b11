"""Records what a forward assigns to buffers of its module while it is traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx, nn

if TYPE_CHECKING:
    from fxpasses.capture.tracing.module_hooks import Assign
    from fxpasses.capture.tracing.tracer import CaptureTracer


def recorded_assignment(tracer: CaptureTracer, assign: Assign) -> Assign:
    """Lets `self.count = self.count + 1`, with a buffer `count`, become a write into the buffer.

    Without it `nn.Module` refuses the assignment, since a proxy is no tensor. What is assigned to any other attribute
    is noted as a loss: the graph will not do it.
    """

    def record(module: nn.Module, name: str, value: Any) -> None:
        if tracer.stands_aside():
            assign(module, name, value)
        elif isinstance(value, fx.Proxy) and name in module._buffers:
            tracer.assign_buffer(module, name, value)
        else:
            if module in tracer.tree.paths:  # one that the forward has just made may be gone after it
                tracer.losses.see_assignment(tracer.running_module(), name)
            assign(module, name, value)

    return record
