"""Operations that reduce dimensions, normalise along them, or sort them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.types import TensorType


def _floats(x: TensorType) -> bool:
    return x.is_float and x.ndim >= 1


def _sortable(x: TensorType) -> bool:
    return not x.is_bool and x.ndim >= 1


def _spread(x: TensorType) -> bool:
    return x.is_float and x.ndim >= 1 and x.shape[-1] >= 2


def _dim(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": knob % x.ndim}


def _last(_knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"dim": -1}


def _dim_keeping(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": knob % x.ndim, "keepdim": knob % 3 != 0}


def _dims(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": (x.ndim - 2, x.ndim - 1), "keepdim": bool(knob % 2)}


def _reduced(x: TensorType, dim: int | tuple[int, ...], keepdim: bool = False, **_options: Any) -> TensorType:
    dims = {index % x.ndim for index in ((dim,) if isinstance(dim, int) else dim)}
    if keepdim:
        return x.reshaped([1 if index in dims else size for index, size in enumerate(x.shape)])
    return x.reshaped([size for index, size in enumerate(x.shape) if index not in dims])


def _summed(x: TensorType, **options: Any) -> TensorType:
    result = _reduced(x, **options)
    count = x.numel // result.numel
    dtype = x.dtype if x.is_float else torch.int64
    return result.as_dtype(dtype).within(min(x.low, x.low * count), max(x.high, x.high * count))


def _bounded(low: float, high: float) -> Callable[..., TensorType]:
    return lambda x, **_options: x.within(low, high)


def _norm(x: TensorType, **options: Any) -> TensorType:
    return _reduced(x, **options).within(0, x.bound * x.numel)


def _log_probabilities(x: TensorType, **_options: Any) -> TensorType:
    return x.within(x.low - x.high - 7, 0)


def _positions(x: TensorType, **options: Any) -> TensorType:
    return _reduced(x, **options).as_dtype(torch.int64).within(0, max(x.shape) - 1)


def _extreme(x: TensorType, **options: Any) -> tuple[TensorType, TensorType]:
    return _reduced(x, **options), _positions(x, **options)


def _sorted(x: TensorType, **_options: Any) -> tuple[TensorType, TensorType]:
    return x, x.as_dtype(torch.int64).within(0, max(x.shape) - 1)


def _top(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"k": 1 + knob % x.shape[-1], "dim": -1}


def _largest(x: TensorType, k: int, **_options: Any) -> tuple[TensorType, TensorType]:
    shape = (*x.shape[:-1], k)
    return x.reshaped(shape), x.reshaped(shape).as_dtype(torch.int64).within(0, x.shape[-1] - 1)


def _log_sum(x: TensorType, **options: Any) -> TensorType:
    return _reduced(x, **options).within(x.low, x.high + 7)


def _truth(x: TensorType, **options: Any) -> TensorType:
    return _reduced(x, **options).as_dtype(torch.bool).within(0, 1)


def _row(name: str, accepts: Any, infer: Any, options: Any, positional: str = "") -> OpSpec:
    return OpSpec(name, accepts, infer, options=options, positional=tuple(positional.split()))


def _image_like(x: TensorType) -> bool:
    return x.is_float and x.ndim >= 3


def _scalar(x: TensorType) -> TensorType:
    return _summed(x, dim=tuple(range(x.ndim)))


REDUCING = [
    _row("torch.mean", _floats, _reduced, _dim_keeping),
    _row("Tensor.mean", _floats, _reduced, _dim_keeping, "dim"),
    _row("torch.sum", _sortable, _summed, _dim_keeping),
    _row("Tensor.sum", _sortable, _summed, _dim_keeping),
    _row("Tensor.mean", _image_like, _reduced, _dims, "dim"),
    _row("torch.amax", _floats, _reduced, _dim_keeping),
    _row("Tensor.amin", _floats, _reduced, _dim_keeping),
    _row("torch.argmax", _sortable, _positions, _dim_keeping),
    _row("Tensor.argmin", _sortable, _positions, _dim_keeping),
    _row("torch.logsumexp", _floats, _log_sum, _dim_keeping),
    _row("torch.norm", _floats, _norm, _dim_keeping),
    _row("torch.var", _spread, _norm, lambda *_: {"dim": -1, "keepdim": True}),
    _row("Tensor.std", _spread, _norm, lambda *_: {"dim": -1, "keepdim": True}),
    _row("torch.any", lambda x: x.is_bool and x.ndim >= 1, _truth, _dim_keeping),
    _row("Tensor.all", lambda x: x.is_bool and x.ndim >= 1, _truth, _dim_keeping),
    OpSpec("Tensor.sum", _sortable, _scalar),
    OpSpec("torch.mean", _floats, lambda x: _reduced(x, dim=tuple(range(x.ndim)))),
]


def _layer_shape(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"normalized_shape": (x.shape[-1],)}


NORMALIZING = [
    _row("torch.softmax", _floats, _bounded(0, 1), _dim),
    _row("F.softmax", _floats, _bounded(0, 1), _last),
    _row("Tensor.softmax", _floats, _bounded(0, 1), _dim, "dim"),
    _row("torch.log_softmax", _floats, _log_probabilities, _dim),
    _row("F.normalize", _floats, _bounded(-1, 1), _dim),
    _row("F.layer_norm", _spread, _bounded(-6, 6), _layer_shape, "normalized_shape"),
]

# Of several results, each arrives as an element of a tuple.
PAIRED_RESULTS = [
    _row("torch.max", _sortable, _extreme, _dim),
    _row("torch.min", _sortable, _extreme, _dim_keeping),
    _row("Tensor.max", _sortable, _extreme, _dim_keeping),
    _row("torch.sort", _sortable, _sorted, _last),
    _row("torch.topk", _sortable, _largest, _top, "k"),
]
REDUCTIONS = REDUCING + NORMALIZING
