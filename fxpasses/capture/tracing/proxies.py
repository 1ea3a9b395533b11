"""The proxies of a symbolic capture: they record augmented assignments, and buffers know their shape."""

from __future__ import annotations

import dis
import operator
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.fx.proxy import Attribute

from fxpasses.capture.tracing.fast_tracer import recorded_torch_function

if TYPE_CHECKING:
    from fxpasses.capture.tracing.tracer import CaptureTracer

PLAIN_OPERATOR: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.iand: operator.and_,
    operator.ifloordiv: operator.floordiv,
    operator.ilshift: operator.lshift,
    operator.imatmul: operator.matmul,
    operator.imod: operator.mod,
    operator.imul: operator.mul,
    operator.ior: operator.or_,
    operator.ipow: operator.pow,
    operator.irshift: operator.rshift,
    operator.isub: operator.sub,
    operator.itruediv: operator.truediv,
    operator.ixor: operator.xor,
}
"""The in-place operators that Python's augmented assignments call, each with the operator that makes a new value."""

_UNPACK_SEQUENCE, _EXTENDED_ARG = dis.opmap["UNPACK_SEQUENCE"], dis.opmap["EXTENDED_ARG"]


class RecordingProxy(fx.Proxy):
    """A proxy whose `+=` and its like are recorded as what they are: writes into the value itself.

    `fx.Proxy` has no `__iadd__`, so Python falls back on `+` and the graph computes a new value, while in eager
    code every other name of the old value sees the sum.
    """

    tracer: CaptureTracer

    def __getattr__(self, k: str) -> Attribute:
        return RecordingAttribute(self, k)

    def __iter__(self) -> Iterator[fx.Proxy]:
        # `fx.Proxy` disassembles the whole calling function to find this one instruction.
        count = unpacked_into(sys._getframe(1))
        if count is None:
            return self.tracer.iter(self)
        create = self.tracer.create_proxy
        return (create("call_function", operator.getitem, (self, index), {}) for index in range(count))

    @classmethod
    def __torch_function__(
        cls,
        orig_method: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> fx.Proxy:
        recorded = recorded_torch_function(orig_method, args or (), kwargs or {})
        return super().__torch_function__(orig_method, types, args, kwargs) if recorded is None else recorded


class RecordingAttribute(RecordingProxy, Attribute):
    """An attribute of a proxy; it becomes a node when something uses it."""


def unpacked_into(frame: FrameType) -> int | None:
    """Returns into how many names a frame is unpacking what it iterates over, as in `a, b = value`; None if it is not.

    Example:
        >>> class Asked:
        ...     def __iter__(self):
        ...         return iter(range(unpacked_into(sys._getframe(1)) or 0))
        >>> a, b, c = Asked()
        >>> list(Asked())
        []
    """
    code, position = frame.f_code.co_code, frame.f_lasti
    while code[position] == _EXTENDED_ARG:  # Python 3.10 stands at the first of them while it runs the instruction
        position += 2
    if code[position] != _UNPACK_SEQUENCE:
        return None
    count, unit = code[position + 1], 256
    while position >= 2 and code[position - 2] == _EXTENDED_ARG:
        position -= 2
        count += code[position + 1] * unit
        unit *= 256
    return count


def _augmented(target: Callable[..., Any]) -> Callable[[RecordingProxy, Any], fx.Proxy]:
    def method(self: RecordingProxy, other: Any) -> fx.Proxy:
        return self.tracer.augmented(target, self, other)

    return method


for _operator in PLAIN_OPERATOR:
    setattr(RecordingProxy, f"__{_operator.__name__}__", _augmented(_operator))


class BufferProxy(RecordingProxy):
    """A proxy of a tensor that the model owns: its shape is known, so decisions on the shape can be taken."""

    def __init__(self, node: fx.Node, tracer: CaptureTracer, tensor: torch.Tensor) -> None:
        super().__init__(node, tracer)
        self._tensor = tensor

    @property
    def shape(self) -> torch.Size:
        """The tensor's shape, as a constant."""
        return self._tensor.shape

    @property
    def ndim(self) -> int:
        """The tensor's number of dimensions, as a constant."""
        return self._tensor.ndim

    @property
    def dtype(self) -> torch.dtype:
        """The tensor's dtype, as a constant."""
        return self._tensor.dtype

    def size(self, dim: int | None = None) -> Any:
        """Returns the tensor's shape, or one extent of it, as a constant."""
        return self._tensor.shape if dim is None else self._tensor.shape[dim]

    def dim(self) -> int:
        """Returns the tensor's number of dimensions, as a constant."""
        return self._tensor.ndim

    def numel(self) -> int:
        """Returns the tensor's number of elements, as a constant."""
        return self._tensor.numel()

    def nelement(self) -> int:
        """Returns the tensor's number of elements, as a constant."""
        return self._tensor.numel()

    def __len__(self) -> int:
        return len(self._tensor)

    def __iter__(self) -> Iterator[fx.Proxy]:
        return (
            self.tracer.create_proxy("call_function", operator.getitem, (self, index), {}) for index in range(len(self))
        )
