"""Values without data of layers that torch computes in Python, slowly, when there is no data; here by a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

_NORMALIZES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm)
_ACTIVATES = (nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.SiLU)
_KEEP_THE_SHAPE: frozenset[Any] = frozenset(
    {functional.batch_norm, functional.gelu, functional.group_norm, functional.layer_norm}
)


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
    if type(x) is not torch.Tensor or not x.is_floating_point() or torch._C._is_any_autocast_enabled():
        return None
    if module is not None:
        return None if kwargs or len(args) > 1 else _of_module(module, x)
    if node.target in _KEEP_THE_SHAPE:
        return torch.empty_like(x)
    rule = _FUNCTIONS.get(cast("Any", node.target))
    return None if rule is None or not all(type(each) is torch.Tensor for each in args[:3]) else rule(*args, **kwargs)


def _of_module(module: nn.Module, x: torch.Tensor) -> Any:
    kind: type[nn.Module] = type(module)
    if kind is nn.Linear:
        return _linear(x, cast("torch.Tensor", module.weight))
    if kind is nn.Dropout:
        return torch.empty_like(x) if module.training and not module.inplace else x
    if kind in _ACTIVATES:
        return x if getattr(module, "inplace", False) else torch.empty_like(x)
    return torch.empty_like(x) if kind in _NORMALIZES else None


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor | None:
    del bias
    if x.dtype != weight.dtype or weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        return None
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> torch.Tensor | None:
    if min(query.ndim, key.ndim, value.ndim) < 2:
        return None
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2] or query.shape[-1] != key.shape[-1]:
        return None
    if key.shape[-2] != value.shape[-2] or not query.dtype == key.dtype == value.dtype:
        return None
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


_FUNCTIONS: dict[Any, Callable[..., torch.Tensor | None]] = {
    functional.linear: _linear,
    functional.scaled_dot_product_attention: _attention,
}
