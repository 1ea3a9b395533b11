"""Operations that combine several tensors, or a tensor with a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.program import Call, Local
from fxpasses.testing.models.types import TensorType, broadcast

WRITE = frozenset({"write"})


def _hull(numbers: list[float]) -> tuple[float, float]:
    return min(numbers), max(numbers)


def _sum(a: TensorType, b: TensorType, scale: float = 1.0) -> tuple[float, float]:
    return _hull([a.low + scale * b.low, a.low + scale * b.high, a.high + scale * b.low, a.high + scale * b.high])


def _difference(a: TensorType, b: TensorType) -> tuple[float, float]:
    return _sum(a, b, -1.0)


def _product(a: TensorType, b: TensorType) -> tuple[float, float]:
    return _hull([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])


def _quotient(a: TensorType, b: TensorType) -> tuple[float, float]:
    return _hull([a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high])


def _either(a: TensorType, b: TensorType) -> tuple[float, float]:
    return min(a.low, b.low), max(a.high, b.high)


def numbers_match(a: TensorType, b: TensorType) -> bool:
    """Two numeric tensors of one dtype that broadcast."""
    return a.dtype is b.dtype and not a.is_bool and broadcast(a.shape, b.shape) is not None


def _divisible(a: TensorType, b: TensorType) -> bool:
    return numbers_match(a, b) and a.is_float and b.low >= 0.05


def _booleans(a: TensorType, b: TensorType) -> bool:
    return a.is_bool and b.is_bool and broadcast(a.shape, b.shape) is not None


def _integers(a: TensorType, b: TensorType) -> bool:
    return numbers_match(a, b) and a.is_integer


def combined(a: TensorType, b: TensorType, low: float, high: float) -> TensorType | None:
    """The type of a pointwise combination; None if the shapes do not broadcast."""
    shape = broadcast(a.shape, b.shape)
    return None if shape is None else TensorType(shape, a.dtype, low, high, a.gradient or b.gradient)


def _pair(name: str, accepts: Callable[..., bool], span: Callable[..., tuple[float, float]], **more: Any) -> OpSpec:
    def infer(a: TensorType, b: TensorType, **_options: Any) -> TensorType | None:
        return combined(a, b, *span(a, b))

    return OpSpec(name, accepts, infer, arity=2, **more)


def _compared(a: TensorType, b: TensorType) -> TensorType | None:
    result = combined(a, b, 0, 1)
    return None if result is None else result.as_dtype(torch.bool)


def _into_first(accepts: Callable[..., bool]) -> Callable[..., bool]:
    return lambda a, b: accepts(a, b) and broadcast(a.shape, b.shape) == a.shape


def _out(arguments: tuple[Local, ...], _options: Mapping[str, Any]) -> Call:
    return Call("function", "", arguments, {"out": arguments[0]})


def _out_without_gradient(a: TensorType, b: TensorType) -> bool:
    return _into_first(numbers_match)(a, b) and not (a.gradient or b.gradient)


def _alpha(knob: int, *_types: TensorType) -> Mapping[str, Any]:
    return {"alpha": 2 + knob % 2}


_SCALED = {"options": _alpha}

PAIRS = [
    _pair("operator.add", numbers_match, _sum),
    _pair("operator.sub", numbers_match, _difference),
    _pair("operator.mul", numbers_match, _product),
    _pair("torch.add", numbers_match, _sum),
    _pair("Tensor.add", numbers_match, _sum),
    _pair("torch.add", numbers_match, lambda a, b: _sum(a, b, 3.0), **_SCALED),
    _pair("torch.sub", numbers_match, _difference),
    _pair("Tensor.sub", numbers_match, _difference),
    _pair("torch.sub", numbers_match, lambda a, b: _sum(a, b, -3.0), **_SCALED),
    _pair("torch.mul", numbers_match, _product),
    _pair("Tensor.mul", numbers_match, _product),
    _pair("operator.truediv", _divisible, _quotient),
    _pair("torch.div", _divisible, _quotient),
    _pair("torch.maximum", numbers_match, _either),
    _pair("torch.minimum", numbers_match, _either),
    _pair("Tensor.maximum", numbers_match, _either),
    _pair("torch.atan2", lambda a, b: numbers_match(a, b) and a.is_float, lambda _a, _b: (-3.2, 3.2)),
    _pair("torch.logical_and", _booleans, lambda _a, _b: (0, 1)),
    _pair("torch.logical_or", _booleans, lambda _a, _b: (0, 1)),
    _pair("operator.xor", _booleans, lambda _a, _b: (0, 1)),
    _pair("torch.bitwise_and", _integers, lambda a, b: (-max(a.bound, b.bound), max(a.bound, b.bound))),
]
COMPARISONS = [
    OpSpec(name, numbers_match, _compared, arity=2)
    for name in ("operator.gt", "operator.le", "torch.eq", "torch.ne", "Tensor.lt", "torch.ge")
]

IN_PLACE_PAIRS = [
    _pair("Tensor.add_", _into_first(numbers_match), _sum, effects=WRITE),
    _pair("Tensor.sub_", _into_first(numbers_match), _difference, effects=WRITE),
    _pair("Tensor.mul_", _into_first(numbers_match), _product, effects=WRITE),
    _pair("Tensor.add_", _into_first(numbers_match), lambda a, b: _sum(a, b, 3.0), options=_alpha, effects=WRITE),
    _pair("Tensor.copy_", _into_first(numbers_match), lambda _a, b: (b.low, b.high), effects=WRITE),
    _pair("torch.add", _out_without_gradient, _sum, emit=_out, effects=WRITE),
    _pair("torch.mul", _out_without_gradient, _product, emit=_out, effects=WRITE),
]


def _chosen(condition: TensorType, a: TensorType, b: TensorType) -> TensorType | None:
    shape = broadcast(condition.shape, a.shape, b.shape)
    return None if shape is None else TensorType(shape, a.dtype, *_either(a, b), a.gradient or b.gradient)


def _selects(condition: TensorType, a: TensorType, b: TensorType) -> bool:
    return condition.is_bool and a.dtype is b.dtype and broadcast(condition.shape, a.shape, b.shape) is not None


def _three(a: TensorType, b: TensorType, c: TensorType) -> bool:
    same = a.dtype is b.dtype is c.dtype and a.is_float
    return same and broadcast(a.shape, b.shape, c.shape) is not None


def _addcmul(a: TensorType, b: TensorType, c: TensorType) -> TensorType | None:
    inner = combined(b, c, *_product(b, c))
    return None if inner is None else combined(a, inner, *_sum(a, inner))


def _lerp(a: TensorType, b: TensorType, c: TensorType) -> TensorType | None:
    shifted = _addcmul(a, b, c)
    return None if shifted is None else _addcmul(shifted, a, c)


def _masked(x: TensorType, _mask: TensorType, value: float) -> TensorType:
    return x.within(min(x.low, value), max(x.high, value))


def _maskable(x: TensorType, mask: TensorType) -> bool:
    return mask.is_bool and not x.is_bool and broadcast(x.shape, mask.shape) == x.shape


def _fill(knob: int, *_types: TensorType) -> Mapping[str, Any]:
    return {"value": knob % 3 - 1}


TRIPLES = [
    OpSpec("torch.where", _selects, _chosen, arity=3),
    OpSpec("torch.addcmul", _three, _addcmul, arity=3),
    OpSpec("torch.lerp", _three, _lerp, arity=3),
    OpSpec("torch.masked_fill", _maskable, _masked, arity=2, options=_fill, positional=("value",)),
    OpSpec("Tensor.masked_fill", _maskable, _masked, arity=2, options=_fill, positional=("value",)),
]
IN_PLACE_PAIRS.append(
    OpSpec("Tensor.masked_fill_", _maskable, _masked, arity=2, options=_fill, positional=("value",), effects=WRITE)
)


def _batches(a: TensorType, b: TensorType) -> bool:
    if not (a.is_float and a.dtype is b.dtype and a.ndim >= 2 and b.ndim >= 2 and a.shape[-1] == b.shape[-2]):
        return False
    return broadcast(a.shape[:-2], b.shape[:-2]) is not None


def multiplied(a: TensorType, b: TensorType, **_options: Any) -> TensorType | None:
    """The type of a (batched) matrix product."""
    lead = broadcast(a.shape[:-2], b.shape[:-2])
    if lead is None:
        return None
    bound = a.bound * b.bound * a.shape[-1]
    return TensorType((*lead, a.shape[-2], b.shape[-1]), a.dtype, -bound, bound, a.gradient or b.gradient)


def _einsum(arguments: tuple[Local, ...], options: Mapping[str, Any]) -> Call:
    return Call("function", "", (options["equation"], *arguments))


def _outer(a: TensorType, b: TensorType, **_options: Any) -> TensorType:
    return TensorType((*a.shape, *b.shape), a.dtype, *_product(a, b), a.gradient or b.gradient)


def _dot_rows(a: TensorType, b: TensorType, **_options: Any) -> TensorType:
    bound = a.bound * b.bound * a.shape[1]
    return TensorType((a.shape[0], b.shape[0]), a.dtype, -bound, bound, a.gradient or b.gradient)


def _rows(a: TensorType, b: TensorType) -> bool:
    return a.is_float and a.dtype is b.dtype and a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1]


def _ranks(rank: int) -> Callable[[TensorType, TensorType], bool]:
    return lambda a, b: _batches(a, b) and a.ndim == b.ndim == rank and a.shape[:-2] == b.shape[:-2]


PRODUCTS = [
    OpSpec("torch.matmul", _batches, multiplied, arity=2),
    OpSpec("operator.matmul", _batches, multiplied, arity=2),
    OpSpec("Tensor.matmul", _batches, multiplied, arity=2),
    OpSpec("torch.mm", _ranks(2), multiplied, arity=2),
    OpSpec("torch.bmm", _ranks(3), multiplied, arity=2),
    OpSpec("torch.einsum", _rows, _dot_rows, arity=2, options=lambda *_: {"equation": "ij,kj->ik"}, emit=_einsum),
    OpSpec("F.linear", _rows, _dot_rows, arity=2),
    OpSpec("torch.outer", lambda a, b: a.ndim == b.ndim == 1 and numbers_match(a, b.reshaped(())), _outer, arity=2),
]
MANY = PAIRS + COMPARISONS + TRIPLES + PRODUCTS


def _number(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"other": 1 + knob % 3 if x.is_integer else (1 + knob % 5) / 2}


def _shifted(x: TensorType, other: float) -> TensorType:
    return x.within(x.low + other, x.high + other)


def _lowered(x: TensorType, other: float) -> TensorType:
    return _shifted(x, -other)


def _scaled(x: TensorType, other: float) -> TensorType:
    return x.within(x.low * other, x.high * other)


def _reflected(x: TensorType, other: float) -> TensorType:
    return x.within(other - x.high, other - x.low)


def _is_number(x: TensorType) -> bool:
    return not x.is_bool


def _swapped(arguments: tuple[Local, ...], options: Mapping[str, Any]) -> Call:
    return Call("operator", "", (options["other"], *arguments))


def _with_number(
    name: str, infer: Callable[..., Any], accepts: Callable[..., bool] = _is_number, **more: Any
) -> OpSpec:
    return OpSpec(name, accepts, infer, options=_number, positional=("other",), **more)


def _above(x: TensorType, **_options: Any) -> TensorType:
    return x.as_dtype(torch.bool).within(0, 1)


def _power(x: TensorType, other: float) -> TensorType:
    return x.within(0, x.bound**other)


NUMBERS = [
    _with_number("operator.add", _shifted),
    _with_number("operator.mul", _scaled),
    _with_number("operator.sub", _lowered),
    _with_number("operator.add", _shifted, emit=_swapped),
    _with_number("operator.sub", _reflected, emit=_swapped),
    _with_number("operator.mul", _scaled, emit=_swapped),
    _with_number("operator.truediv", lambda x, other: _scaled(x, 1 / other), lambda x: x.is_float),
    _with_number("torch.add", _shifted),
    _with_number("Tensor.add", _shifted),
    _with_number("torch.mul", _scaled),
    _with_number("Tensor.mul", _scaled),
    _with_number("torch.sub", _lowered),
    _with_number("torch.div", lambda x, other: _scaled(x, 1 / other), lambda x: x.is_float),
    _with_number("operator.gt", _above),
    _with_number("Tensor.le", _above),
    _with_number("operator.floordiv", lambda x, other: x.within(x.low / other - 1, x.high / other), _is_number),
    _with_number("operator.mod", lambda x, other: x.within(0, other), _is_number),
    _with_number("operator.pow", _power, lambda x: x.is_float and x.low >= 0 and x.bound <= 10),
]
IN_PLACE_NUMBERS = [
    _with_number("Tensor.add_", _shifted, effects=WRITE),
    _with_number("Tensor.mul_", _scaled, effects=WRITE),
    _with_number("Tensor.sub_", _lowered, effects=WRITE),
    _with_number("Tensor.div_", lambda x, other: _scaled(x, 1 / other), lambda x: x.is_float, effects=WRITE),
]
AUGMENTED = [
    _with_number("operator.iadd", _shifted, effects=WRITE),
    _with_number("operator.imul", _scaled, effects=WRITE),
    _with_number("operator.isub", _lowered, effects=WRITE),
]
