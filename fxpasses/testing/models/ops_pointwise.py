"""Operations of one tensor that keep its shape, in every form that PyTorch offers them in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.program import Call, Literally, Local
from fxpasses.testing.models.types import TensorType

Range = Callable[[float, float], tuple[float, float]]


def fixed(low: float, high: float) -> Range:
    """A result that lies between two numbers whatever goes in."""
    return lambda _low, _high: (low, high)


def monotone(function: Callable[[float], float]) -> Range:
    """A result whose ends are the images of the ends."""
    return lambda low, high: (function(low), function(high))


def clipped(lowest: float, highest: float) -> Range:
    """A result that is the argument within two numbers."""
    return monotone(lambda number: min(max(number, lowest), highest))


def _same(low: float, high: float) -> tuple[float, float]:
    return low, high


def _negated(low: float, high: float) -> tuple[float, float]:
    return -high, -low


def _magnitude(low: float, high: float) -> tuple[float, float]:
    return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _squared(low: float, high: float) -> tuple[float, float]:
    low, high = _magnitude(low, high)
    return low * low, high * high


def _inverse(low: float, high: float) -> tuple[float, float]:
    return 1 / high, 1 / low


def _any(x: TensorType) -> bool:
    return x.is_float


def _number(x: TensorType) -> bool:
    return not x.is_bool


def _small(x: TensorType) -> bool:
    return x.is_float and x.bound <= 6


def _not_negative(x: TensorType) -> bool:
    return x.is_float and x.low >= 0


def _positive(x: TensorType) -> bool:
    return x.is_float and x.low >= 0.05


class Row(NamedTuple):
    """A function of one tensor: the forms in which it exists, what it takes and the range of what it gives."""

    forms: str
    range: Range
    accepts: Callable[[TensorType], bool] = _any


_SHRUNK = clipped(-1.0, LARGE := 1e6)
# Forms: a space alone is the plain function there, a trailing `_` its in-place form; `nn:Name` is the module's
# class, `nn_:Name` the same constructed with `inplace=True`, and `F_` the function called with it; `out` writes
# the result into the argument.
ROWS: Mapping[str, Row] = {
    "relu": Row("torch F Tensor nn:ReLU torch_ Tensor_ F_ nn_:ReLU", clipped(0.0, LARGE)),
    "tanh": Row("torch Tensor nn:Tanh torch_ Tensor_ out", fixed(-1, 1)),
    "neg": Row("torch operator Tensor torch_ Tensor_ out", _negated, _number),
    "abs": Row("torch operator Tensor torch_ Tensor_ out", _magnitude, _number),
    "sigmoid": Row("torch Tensor nn:Sigmoid torch_ Tensor_ out", fixed(0, 1)),
    "sin": Row("torch Tensor torch_ Tensor_", fixed(-1, 1)),
    "cos": Row("torch Tensor torch_ Tensor_", fixed(-1, 1)),
    "atan": Row("torch Tensor Tensor_", fixed(-1.6, 1.6)),
    "erf": Row("torch Tensor Tensor_", fixed(-1, 1)),
    "square": Row("torch Tensor torch_ Tensor_", _squared, _number),
    "sign": Row("torch Tensor Tensor_", fixed(-1, 1), _number),
    "floor": Row("torch Tensor torch_ Tensor_", monotone(math.floor)),
    "ceil": Row("torch Tensor torch_ Tensor_", monotone(math.ceil)),
    "round": Row("torch Tensor Tensor_", monotone(round)),
    "trunc": Row("torch Tensor Tensor_", monotone(math.trunc)),
    "exp": Row("torch Tensor torch_ Tensor_", monotone(lambda x: math.exp(min(x, 10.0))), _small),
    "expm1": Row("torch Tensor", monotone(lambda x: math.expm1(min(x, 10.0))), _small),
    "log": Row("torch Tensor Tensor_", monotone(lambda x: math.log(max(x, 1e-3))), _positive),
    "log1p": Row("torch Tensor", monotone(lambda x: math.log1p(max(x, 0.0))), _not_negative),
    "sqrt": Row("torch Tensor torch_ Tensor_", monotone(lambda x: math.sqrt(max(x, 0.0))), _not_negative),
    "rsqrt": Row("torch Tensor", lambda low, high: (high**-0.5, low**-0.5), _positive),
    "reciprocal": Row("torch Tensor", _inverse, _positive),
    "gelu": Row("F nn:GELU", _SHRUNK),
    "silu": Row("F nn:SiLU F_ nn_:SiLU", _SHRUNK),
    "mish": Row("F nn:Mish F_", _SHRUNK),
    "elu": Row("F nn:ELU F_ nn_:ELU", _SHRUNK),
    "celu": Row("torch F nn:CELU torch_", _SHRUNK),
    "selu": Row("torch F nn:SELU torch_", lambda _low, high: (-1.8, 1.06 * max(high, 0.0))),
    "leaky_relu": Row("F nn:LeakyReLU F_ nn_:LeakyReLU", _same),
    "relu6": Row("F nn:ReLU6 F_ nn_:ReLU6", fixed(0, 6)),
    "hardtanh": Row("F nn:Hardtanh F_ nn_:Hardtanh", clipped(-1, 1)),
    "hardswish": Row("F nn:Hardswish F_ nn_:Hardswish", _SHRUNK),
    "hardsigmoid": Row("F nn:Hardsigmoid F_", fixed(0, 1)),
    "softplus": Row("F nn:Softplus", lambda _low, high: (0.0, max(high, 0.0) + 0.7)),
    "softsign": Row("F nn:Softsign", fixed(-1, 1)),
    "tanhshrink": Row("F nn:Tanhshrink", _same),
    "softshrink": Row("F nn:Softshrink", _same),
    "hardshrink": Row("F nn:Hardshrink", _same),
    "logsigmoid": Row("F nn:LogSigmoid", lambda low, _high: (min(low, 0.0) - 0.7, 0.0)),
    "clone": Row("torch Tensor", _same, lambda _x: True),
    "zeros_like": Row("torch", fixed(0, 0), lambda _x: True),
    "ones_like": Row("torch", fixed(1, 1), lambda _x: True),
}


def _infer(row: Row) -> Callable[..., TensorType]:
    def infer(x: TensorType, **_options: Any) -> TensorType:
        return x.within(*row.range(x.low, x.high))

    return infer


def _into_argument(arguments: tuple[Local, ...], _options: Mapping[str, Any]) -> Call:
    return Call("function", "", arguments, {"out": arguments[0]})


def _without_gradient(row: Row) -> Callable[[TensorType], bool]:
    # PyTorch's `out=` forms refuse arguments that require a gradient.
    return lambda x: row.accepts(x) and not x.gradient


def _spec(stem: str, row: Row, form: str) -> OpSpec:
    space, _, module = form.partition(":")
    write = frozenset({"write"})
    if space == "nn":
        return OpSpec(f"nn.{module}", row.accepts, _infer(row))
    if space in ("nn_", "F_"):
        name = f"nn.{module}" if module else f"F.{stem}"
        return OpSpec(name, row.accepts, _infer(row), options=lambda *_: {"inplace": True}, effects=write)
    if space == "out":
        return OpSpec(f"torch.{stem}", _without_gradient(row), _infer(row), emit=_into_argument, effects=write)
    if space.endswith("_"):
        return OpSpec(f"{space[:-1]}.{stem}_", row.accepts, _infer(row), effects=write)
    return OpSpec(f"{space}.{stem}", row.accepts, _infer(row))


_EXPANDED = [_spec(stem, row, form) for stem, row in ROWS.items() for form in row.forms.split()]

ACTIVATIONS = [spec for spec in _EXPANDED if spec.is_module and not spec.effects]
IN_PLACE_MODULES = [spec for spec in _EXPANDED if spec.is_module and spec.effects]


def _clamp(x: TensorType, min: float, max: float) -> TensorType:  # noqa: A002 - PyTorch's names
    return x.within(*clipped(min, max)(x.low, x.high))


def _limits(knob: int, x: TensorType) -> Mapping[str, Any]:
    limit = 1 + knob % 4
    return {"min": -limit, "max": limit} if x.is_integer else {"min": -limit / 4, "max": limit / 2}


def _convert(dtype: torch.dtype) -> OpSpec:
    name = str(dtype)
    return OpSpec(
        "Tensor.to",
        lambda x: x.dtype is not dtype,
        lambda x, dtype: _converted(x, dtype.value),
        options=lambda *_: {"dtype": Literally(dtype, name)},
        positional=("dtype",),
    )


def _converted(x: TensorType, dtype: torch.dtype) -> TensorType:
    if dtype is torch.bool:
        return x.as_dtype(dtype).within(0, 1)
    if x.is_float and not dtype.is_floating_point:
        # The range of a float is a guide only, and an integer's must hold: an embedding relies on it.
        return x.as_dtype(dtype).within(-9999, 9999)
    return x.as_dtype(dtype)


POINTWISE = [
    *(spec for spec in _EXPANDED if not spec.effects and not spec.is_module),
    OpSpec("torch.clamp", _number, _clamp, options=_limits),
    OpSpec("Tensor.clamp", _number, _clamp, options=_limits, positional=("min", "max")),
    OpSpec("Tensor.long", lambda x: x.is_float, lambda x: _converted(x, torch.int64)),
    OpSpec("Tensor.bool", lambda x: not x.is_bool, lambda x: _converted(x, torch.bool)),
    OpSpec("torch.logical_not", lambda x: x.is_bool, lambda x: x),
    OpSpec("operator.invert", lambda x: x.is_bool, lambda x: x),
    OpSpec("torch.isnan", _any, lambda x: _converted(x, torch.bool)),
    _convert(torch.int64),
]
CASTS = [
    _convert(torch.float64),
    _convert(torch.float32),
    OpSpec("Tensor.double", lambda x: x.dtype is torch.float32, lambda x: x.as_dtype(torch.float64)),
    OpSpec("Tensor.float", lambda x: x.dtype is not torch.float32, lambda x: x.as_dtype(torch.float32)),
]
IN_PLACE = [
    *(spec for spec in _EXPANDED if "write" in spec.effects and not spec.is_module),
    OpSpec("Tensor.clamp_", _number, _clamp, options=_limits, effects=frozenset({"write"})),
    OpSpec("Tensor.zero_", lambda _x: True, lambda x: x.within(0, 0), effects=frozenset({"write"})),
]
