"""What the generator knows about a value before it exists: shape, dtype, range, and whether a gradient may flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

LARGEST_NUMEL = 1024
LARGEST_RANK = 5
LARGEST_BOUND = 1e4


class TensorType(NamedTuple):
    """The abstract value of a tensor.

    The range is a guide, not a proof: it keeps `sqrt` off negative numbers and `exp` off large ones, so that
    infinities and NaNs, which hide differences, stay rare.

    Example:
        >>> TensorType((2, 3)).numel
        6
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    low: float = -1.0
    high: float = 1.0
    gradient: bool = False

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bound(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_float(self) -> bool:
        """Whether the dtype is a floating point one."""
        return self.dtype.is_floating_point

    @property
    def is_bool(self) -> bool:
        """Whether the dtype is `torch.bool`."""
        return self.dtype is torch.bool

    @property
    def is_integer(self) -> bool:
        """Whether the dtype is an integer one; `torch.bool` is not."""
        return not self.is_float and not self.is_bool

    def within(self, low: float, high: float) -> TensorType:
        """The same tensor with another range."""
        return self._replace(low=low, high=high)

    def reshaped(self, shape: Sequence[int]) -> TensorType:
        """The same elements in another shape."""
        return self._replace(shape=tuple(shape))

    def as_dtype(self, dtype: torch.dtype) -> TensorType:
        """The tensor after a conversion; only floating point tensors carry a gradient."""
        return self._replace(dtype=dtype, gradient=self.gradient and dtype.is_floating_point)


class Value(NamedTuple):
    """A local variable of the forward that is being written.

    Attributes:
        name: The variable.
        type: What it holds.
        roots: The storages that it may share; two values with a root in common may alias each other.
        writable: False where PyTorch forbids an in-place write (an expanded tensor, one of many views).
    """

    name: str
    type: TensorType
    roots: frozenset[int]
    writable: bool = True


def is_reasonable(result: TensorType) -> bool:
    """Whether a value is small enough to keep: in elements, in dimensions and in magnitude."""
    if result.numel > LARGEST_NUMEL or result.ndim > LARGEST_RANK:
        return False
    return 0 not in result.shape and result.bound <= LARGEST_BOUND


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that tensors of these shapes broadcast to; None if they do not.

    Example:
        >>> broadcast((2, 1), (3,))
        (2, 3)
        >>> broadcast((2,), (3,)) is None
        True
    """
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result: list[int] = []
    for sizes in zip(*padded, strict=True):
        size = max(sizes)
        if any(other not in (1, size) for other in sizes):
            return None
        result.append(size)
    return tuple(result)
