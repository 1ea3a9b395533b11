"""Values without data of layers that torch computes in Python, slowly, when there is no data; here by a rule."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

_ACTIVATES = (nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.SiLU)
_DIMENSIONS = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}
_KINDS_OF_TENSOR = (torch.Tensor, nn.Parameter)


def value_by_rule(node: fx.Node, module: nn.Module | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns what `node` computes, as a tensor without data; None if there is no rule.

    A rule answers only where it is sure: other dtypes, sizes that do not fit and other ways to pass the arguments
    are torch's to judge.

    Args:
        node: A call of a module, or of a function.
        module: The module, for a call of one.
        args: The positional arguments, without data.
        kwargs: The arguments by keyword.

    Example:
        >>> graph = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4))).graph
        >>> linear = list(graph.nodes)[1]
        >>> value_by_rule(linear, nn.Linear(3, 4), (torch.empty(2, 3, device="meta"),), {}).shape
        torch.Size([2, 4])
    """
    x = args[0] if args else None
    if torch._C._is_any_autocast_enabled():
        return None
    if module is not None:
        return None if kwargs or len(args) > 1 or not _is_plain(x) else _of_module(module, cast("torch.Tensor", x))
    rule = _FUNCTIONS.get(cast("Any", node.target))
    if rule is None or not (_is_plain(x) or (node.target in (torch.cat, torch.stack) and args)):
        return None
    return rule(*args, **kwargs)


def _is_plain(x: Any) -> bool:
    return type(x) is torch.Tensor and x.is_floating_point()


def _of_module(module: nn.Module, x: torch.Tensor) -> Any:
    kind: Any = type(module)
    if kind is nn.Linear:
        return _linear(x, cast("torch.Tensor", module.weight))
    if kind is nn.Identity:
        return x
    if kind is nn.Dropout:
        return _like(x) if module.training and not module.inplace else x
    if kind in _ACTIVATES:
        return x if getattr(module, "inplace", False) else _like(x)
    normalization = cast("Any", module)
    if kind in _DIMENSIONS:
        in_training = module.training or normalization.running_mean is None
        fits = x.ndim in _DIMENSIONS[kind] and x.shape[1] == normalization.num_features
        return _batch_norm(x, normalization.running_mean, training=in_training) if fits else None
    if kind is nn.GroupNorm:
        fits = x.ndim > 1 and x.shape[1] == normalization.num_channels
        return _group_norm(x, normalization.num_groups, normalization.weight) if fits else None
    rule = {nn.LayerNorm: _layer_norm, nn.RMSNorm: _rms_norm}.get(kind)
    return None if rule is None else rule(x, normalization.normalized_shape, normalization.weight)


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor | None:
    del bias
    if x.dtype != weight.dtype or weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        return None
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor | None:
    if not all(type(each) is torch.Tensor for each in (key, value)) or min(query.ndim, key.ndim, value.ndim) < 2:
        return None
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2] or query.shape[-1] != key.shape[-1]:
        return None
    if key.shape[-2] != value.shape[-2] or not query.dtype == key.dtype == value.dtype:
        return None
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


def _like(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """Returns what an operation on each element returns: a tensor of the same sizes, dense, in the same order."""
    return x.new_empty(x.shape) if x.is_contiguous() else torch.empty_like(x)


def _layer_norm(
    x: torch.Tensor, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: Any = None
) -> torch.Tensor | None:
    del eps
    shape = tuple(normalized_shape)
    if x.shape[-len(shape) :] != shape:
        return None
    return x.new_empty(x.shape) if _suit(x, shape, weight, bias) else None


def _rms_norm(
    x: torch.Tensor, normalized_shape: Sequence[int], weight: Any = None, eps: Any = None
) -> torch.Tensor | None:
    return _layer_norm(x, normalized_shape, weight, None, eps) if x.is_contiguous() else None


def _group_norm(
    x: torch.Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: Any = None
) -> torch.Tensor | None:
    del eps
    if x.ndim < 2 or x.shape[1] % num_groups or x.numel() in (0, num_groups) or not x.is_contiguous():
        return None
    return _like(x) if _suit(x, (x.shape[1],), weight, bias) else None


def _batch_norm(
    x: torch.Tensor,
    running_mean: Any,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *_: Any,
    **__: Any,
) -> torch.Tensor | None:
    if x.ndim < 2 or x.numel() == 0 or not x.is_contiguous() or (training and x.numel() == x.shape[1]):
        return None
    return _like(x) if _suit(x, (x.shape[1],), running_mean, running_var, weight, bias) else None


def _suit(x: torch.Tensor, shape: tuple[int, ...], *weights: Any) -> bool:
    """Whether all weights that there are have this shape, and the dtype of `x`."""
    return all(weight is None or (weight.shape == shape and weight.dtype == x.dtype) for weight in weights)


def _arithmetic(x: torch.Tensor, other: Any) -> torch.Tensor | None:
    if type(other) in (int, float):
        return _like(x)
    if type(other) not in _KINDS_OF_TENSOR or other.dtype != x.dtype:
        return None
    size = list(x.shape) if x.shape == other.shape else _broadcast(x.shape, other.shape)
    if size is None or not all(size):
        return None
    if x.is_contiguous() and other.is_contiguous():
        return x.new_empty(size)
    # The order of the dimensions in memory is that of the first operand, where it has all of them.
    return torch.empty_like(x) if list(x.shape) == size and all(x.stride()) else None


def _broadcast(one: Sequence[int], other: Sequence[int]) -> list[int] | None:
    if len(one) < len(other):
        one, other = other, one
    size = list(one)
    for index in range(1, len(other) + 1):
        if size[-index] == 1:
            size[-index] = other[-index]
        elif other[-index] not in (1, size[-index]):
            return None
    return size


def _concatenated(tensors: Any, dim: int = 0) -> torch.Tensor | None:
    if type(dim) is not int or not _are_alike(tensors):
        return None
    first = tensors[0]
    if first.ndim == 0 or not -first.ndim <= dim < first.ndim:
        return None
    size = list(first.shape)
    size[dim] = sum(each.shape[dim] for each in tensors)
    for each in tensors:
        if any(
            one != own for at, (one, own) in enumerate(zip(each.shape, size, strict=True)) if at != dim % first.ndim
        ):
            return None
    return first.new_empty(size)


def _stacked(tensors: Any, dim: int = 0) -> torch.Tensor | None:
    if type(dim) is not int or not _are_alike(tensors) or any(each.shape != tensors[0].shape for each in tensors):
        return None
    first = tensors[0]
    if not -first.ndim - 1 <= dim <= first.ndim or first.ndim in (3, 4):  # with one more, they may be "channels last"
        return None
    size = list(first.shape)
    size.insert(dim % (first.ndim + 1), len(tensors))
    return first.new_empty(size)


def _are_alike(tensors: Any) -> bool:
    """Whether these are tensors of one dtype and number of dimensions, whose concatenation is contiguous."""
    if not isinstance(tensors, (list, tuple)) or not tensors:
        return False
    first = cast("Sequence[Any]", tensors)[0]
    return all(
        type(each) is torch.Tensor
        and each.ndim == first.ndim
        and each.dtype == first.dtype
        and (each.ndim not in (4, 5) or each.stride(1) != 1)  # of sizes that are 1 one may be "channels last" too
        for each in cast("Sequence[Any]", tensors)
    )


_FUNCTIONS: dict[Any, Callable[..., torch.Tensor | None]] = {
    functional.batch_norm: _batch_norm,
    functional.gelu: _like,
    functional.group_norm: _group_norm,
    functional.layer_norm: _layer_norm,
    functional.linear: _linear,
    functional.rms_norm: _rms_norm,
    functional.scaled_dot_product_attention: _attention,
    operator.add: _arithmetic,
    operator.mul: _arithmetic,
    operator.neg: _like,
    operator.sub: _arithmetic,
    operator.truediv: _arithmetic,
    torch.cat: _concatenated,
    torch.neg: _like,
    torch.rms_norm: _rms_norm,
    torch.stack: _stacked,
}
