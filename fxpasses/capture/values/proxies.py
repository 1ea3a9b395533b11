"""The proxies of a value capture: they record as others do, and answer questions from the value of their node."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from fxpasses.capture.tracing.proxies import BufferProxy, RecordingAttribute, RecordingProxy, unpacked_into

if TYPE_CHECKING:
    from fxpasses.capture.value_tracer import ValueTracer

_OF_TENSORS = frozenset(dir(torch.Tensor))


class ValueProxy(RecordingProxy):
    """A proxy that knows what its node computes, up to the data in tensors.

    Each answer that ordinary Python takes away from it (`bool`, `int`, `len`, an iteration, `in`) is a decision
    that the tracer notes down, with the line that took it.
    """

    tracer: ValueTracer  # pyright: ignore[reportIncompatibleVariableOverride] # only this tracer makes such proxies

    def __getattr__(self, k: str) -> Any:
        if k == "dtype":
            return self.tracer.dtype_of(self)
        if k == "device":
            return self.tracer.device_of(self)
        if k not in _OF_TENSORS and not hasattr(self.tracer.value_of(self), k):
            raise AttributeError(f"{type(self.tracer.value_of(self)).__name__!r} object has no attribute {k!r}")
        return ValueAttribute(self, k)

    def __bool__(self) -> bool:
        return self.tracer.decide(self, bool)

    def __int__(self) -> int:
        return self.tracer.decide(self, int)

    def __float__(self) -> float:
        return self.tracer.decide(self, float)

    def __complex__(self) -> complex:
        return self.tracer.decide(self, complex)

    def __index__(self) -> int:
        return self.tracer.decide(self, operator.index)

    def __len__(self) -> int:
        return self.tracer.decide(self, len)

    def __round__(self, digits: int | None = None) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", round, (self,) if digits is None else (self, digits), {})

    def __divmod__(self, other: Any) -> tuple[fx.Proxy, fx.Proxy]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[fx.Proxy, fx.Proxy]:
        return other // self, other % self

    def __iter__(self) -> Iterator[Any]:
        count = unpacked_into(sys._getframe(1))
        if count is not None:
            return (self._item(index) for index in range(count))
        value = self.tracer.value_of(self)
        if isinstance(value, dict):
            return iter(self.tracer.keys_of(self))
        if isinstance(value, range):
            return iter(self.tracer.range_of(self))
        return (self._item(index) for index in range(len(self)))

    def _item(self, key: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.getitem, (self, key), {})

    def __contains__(self, item: Any) -> bool:
        if isinstance(self.tracer.value_of(self), dict):
            return item in self.tracer.keys_of(self)
        return any(item is each or bool(item == each) for each in self)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})

    def __delitem__(self, index: Any) -> None:
        self.tracer.create_proxy("call_function", operator.delitem, (self, index), {})

    def keys(self) -> Any:
        """Returns the keys of a dict, as constants."""
        return self.tracer.keys_of(self)

    def values(self) -> Any:
        """Returns the values of a dict, each a proxy; for a sparse tensor, what its method of that name returns."""
        if isinstance(self.tracer.value_of(self), dict):
            return [self._item(key) for key in self.tracer.keys_of(self)]
        return self.tracer.create_proxy("call_method", "values", (self,), {})

    def items(self) -> Any:
        """Returns the keys of a dict as constants, with their values as proxies."""
        return [(key, self._item(key)) for key in self.tracer.keys_of(self)]


class ValueAttribute(ValueProxy, RecordingAttribute):
    """An attribute of a value proxy; it becomes a node when something uses it."""

    tracer: ValueTracer  # pyright: ignore[reportIncompatibleVariableOverride] # as for every value proxy


class ValueBufferProxy(BufferProxy, ValueProxy):
    """A value proxy of a tensor that the model owns."""
