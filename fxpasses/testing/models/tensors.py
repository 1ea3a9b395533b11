"""The small tensors of a program, as expressions and as values."""

from __future__ import annotations

from typing import Any

import torch

from fxpasses.testing.models.program import TensorSource


def _limits(source: TensorSource) -> tuple[float, float]:
    kind = source.type
    # Equal shapes hold different numbers; one decimal keeps the expression short.
    return round(kind.low, 1), round(kind.high - source.phase % 7 / 10, 1)


def _stride_and_count(source: TensorSource) -> tuple[int, int]:
    return 1 + source.phase % 3, int(source.type.high - source.type.low) + 1


def expression_of(source: TensorSource) -> str:
    """A tensor as an expression.

    Example:
        >>> from fxpasses.testing.models.types import TensorType
        >>> expression_of(TensorSource(TensorType((2, 3))))
        'torch.linspace(-1.0, 1.0, 6).reshape(2, 3)'
    """
    kind = source.type
    shape = ", ".join(map(str, kind.shape))
    if kind.is_bool:
        return f"(torch.arange({kind.numel}) % {2 + source.phase % 2} == 0).reshape({shape})"
    if kind.is_integer:
        stride, count = _stride_and_count(source)
        base = f"(torch.arange({kind.numel}) * {stride} % {count}).reshape({shape})"
        return base if kind.dtype is torch.int64 else f"{base}.to({kind.dtype})"
    low, high = _limits(source)
    dtype = "" if kind.dtype is torch.float32 else f", dtype={kind.dtype}"
    flat = f"torch.linspace({low}, {high}, {kind.numel}{dtype})"
    return flat if kind.ndim == 1 else f"{flat}.reshape({shape})"


def value_of(source: TensorSource) -> torch.Tensor:
    """The tensor that `expression_of` spells."""
    kind = source.type
    if kind.is_bool:
        return (torch.arange(kind.numel) % (2 + source.phase % 2) == 0).reshape(kind.shape)
    if kind.is_integer:
        stride, count = _stride_and_count(source)
        return (torch.arange(kind.numel) * stride % count).reshape(kind.shape).to(kind.dtype)
    low, high = _limits(source)
    return torch.linspace(low, high, kind.numel, dtype=kind.dtype).reshape(kind.shape)


def structure_of(value: Any) -> Any:
    """An input of a program with its tensors made: a tensor, a dict or tuple of tensors, or a number."""
    if isinstance(value, TensorSource):
        return value_of(value)
    if isinstance(value, dict):
        return {key: structure_of(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(structure_of(item) for item in value)
    return value
