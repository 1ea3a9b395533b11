"""Comparing what graphs compute, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree


def cloned(value: Any) -> Any:
    """Returns `value` with every tensor in it cloned, so that a later in-place write does not change it.

    Example:
        >>> x = torch.zeros(2)
        >>> before = cloned({"x": x})
        >>> _ = x.add_(1)
        >>> before["x"]
        tensor([0., 0.])
    """
    return pytree.tree_map_only(torch.Tensor, _detached_clone, value)


def _detached_clone(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def first_difference(actual: Any, expected: Any, *, atol: float = 0.0, rtol: float = 0.0) -> str | None:
    """Says where two values differ first, or returns None if they are the same.

    Tensors are the same if dtype, shape and every bit of every element are, where a NaN equals a NaN and a zero
    equals a negative zero; strides do not matter. Containers of torch.fx equal the plain ones.

    Args:
        actual: The value in question.
        expected: What it ought to be.
        atol: How far elements may be apart.
        rtol: How far elements may be apart, as a share of the expected ones.

    Example:
        >>> first_difference((torch.zeros(2), 1), (torch.zeros(2), 2))
        'at [1]: 1 instead of 2'
    """
    return _difference(actual, expected, "", atol, rtol)


def _difference(actual: Any, expected: Any, where: str, atol: float, rtol: float) -> str | None:
    if isinstance(expected, torch.Tensor) or isinstance(actual, torch.Tensor):
        return _tensor_difference(actual, expected, where, atol, rtol)
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return _mapping_difference(actual, expected, where, atol, rtol)
    if isinstance(expected, (list, tuple)) and isinstance(actual, (list, tuple)):
        return _sequence_difference(actual, expected, where, atol, rtol)
    if type(actual) is type(expected) and (actual == expected or (actual != actual and expected != expected)):
        return None
    return f"{_at(where)}{actual!r} instead of {expected!r}"


def _mapping_difference(actual: Any, expected: Any, where: str, atol: float, rtol: float) -> str | None:
    if list(actual) != list(expected):
        return f"{_at(where)}keys {list(actual)} instead of {list(expected)}"
    found = (_difference(actual[key], expected[key], f"{where}[{key!r}]", atol, rtol) for key in expected)
    return next((difference for difference in found if difference is not None), None)


def _sequence_difference(actual: Any, expected: Any, where: str, atol: float, rtol: float) -> str | None:
    if isinstance(actual, tuple) != isinstance(expected, tuple) or len(actual) != len(expected):
        return f"{_at(where)}{_spelled(actual)} instead of {_spelled(expected)}"
    pairs = enumerate(zip(actual, expected, strict=True))
    found = (_difference(one, other, f"{where}[{index}]", atol, rtol) for index, (one, other) in pairs)
    return next((difference for difference in found if difference is not None), None)


def _spelled(value: Any) -> str:
    return f"a {type(value).__name__} of {len(value)}"


def _tensor_difference(actual: Any, expected: Any, where: str, atol: float, rtol: float) -> str | None:
    if not (isinstance(actual, torch.Tensor) and isinstance(expected, torch.Tensor)):
        return f"{_at(where)}a {type(actual).__name__} instead of a {type(expected).__name__}"
    if actual.dtype is not expected.dtype or actual.shape != expected.shape:
        return f"{_at(where)}{kind_of(actual)} instead of {kind_of(expected)}"
    if torch.equal(actual, expected):
        return None
    if torch.allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True):
        return None
    apart = ~torch.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
    index = [int(position) for position in apart.nonzero()[0]]
    one, other = actual[tuple(index)].item(), expected[tuple(index)].item()
    count = int(apart.sum())
    return f"{_at(where)}{count} of {actual.numel()} elements differ, first at {index}: {one!r} instead of {other!r}"


def kind_of(tensor: torch.Tensor) -> str:
    """Spells dtype and shape of a tensor.

    Example:
        >>> kind_of(torch.zeros(2, 3))
        'float32[2, 3]'
    """
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _at(where: str) -> str:
    return f"at {where}: " if where else ""
