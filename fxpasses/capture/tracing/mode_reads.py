"""Finds out, while a model is traced, whether its training mode could have made a difference."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from fxpasses.graph.weak_cache import weakly_cached

if TYPE_CHECKING:
    from fxpasses.capture.tracing.tracer import CaptureTracer


class _WatchedFlag:
    """Stands for `training` on `nn.Module` during a trace: reads and writes the instance's flag, and notes reads."""

    def __init__(self, tracer: CaptureTracer) -> None:
        self._tracer = tracer

    def __get__(self, module: nn.Module | None, owner: type[nn.Module]) -> Any:
        if module is None or "training" not in module.__dict__:
            raise AttributeError("training")  # Python goes on with `__getattr__`, as if this were not here
        self._tracer.sees_mode_read(module)
        return module.__dict__["training"]

    def __set__(self, module: nn.Module, value: bool) -> None:
        module.__dict__["training"] = value


@contextmanager
def watched_training_flag(tracer: CaptureTracer) -> Generator[None]:
    """Lets `tracer` see each read of `module.training`, wherever in the traced code it happens."""
    outer = vars(nn.Module).get("training")  # of a capture that this one runs inside of
    nn.Module.training = _WatchedFlag(tracer)  # pyright: ignore[reportAttributeAccessIssue] # a descriptor for a while
    try:
        yield
    finally:
        if outer is None:
            del nn.Module.training
        else:
            nn.Module.training = outer


@weakly_cached
def watch_is_blind(kind: type[nn.Module]) -> bool:
    """Whether a module of a class can depend on its mode in a way that no read of the flag shows.

    It can if the class has a `train`, an `eval` or a `training` of its own.
    """
    own_flag = any("training" in vars(each) for each in kind.__mro__ if each not in (nn.Module, object))
    return own_flag or kind.train is not nn.Module.train or kind.eval is not nn.Module.eval
