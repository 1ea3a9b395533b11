"""Leaf modules: layers with weights, normalisation, pooling, dropout, and the other random operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.ops_pointwise import ACTIVATIONS
from fxpasses.testing.models.program import Call, Local
from fxpasses.testing.models.types import TensorType

STATE = frozenset({"state"})
RANDOM = frozenset({"random"})
# In eval mode dropout returns its argument itself.
RANDOM_VIEW = frozenset({"random", "view"})
RANDOM_WRITE = frozenset({"random", "write"})


def _single(x: TensorType) -> bool:
    return x.dtype is torch.float32


def _weighted(x: TensorType, shape: tuple[int, ...]) -> TensorType:
    # PyTorch draws weights within one over the root of the fan-in, and the bias likewise.
    bound = x.bound * max(shape + x.shape) ** 0.5 * 2 + 1
    return TensorType(shape, x.dtype, -bound, bound, gradient=True)


def _vector(x: TensorType) -> bool:
    return _single(x) and x.ndim >= 1


def _channels(rank: int) -> Any:
    return lambda x: _single(x) and x.ndim == rank


def _width(knob: int, size: int) -> int:
    return size if knob % 2 == 0 else 2 + (knob // 2) % 5


def _linear(knob: int, x: TensorType) -> Mapping[str, Any]:
    options: dict[str, Any] = {"in_features": x.shape[-1], "out_features": _width(knob, x.shape[-1])}
    return {**options, "bias": False} if knob % 7 == 6 else options


def _linear_type(x: TensorType, out_features: int, **_options: Any) -> TensorType:
    return _weighted(x, (*x.shape[:-1], out_features))


def _conv(knob: int, x: TensorType) -> Mapping[str, Any]:
    channels = x.shape[1]
    options: dict[str, Any] = {"in_channels": channels, "out_channels": _width(knob, channels), "kernel_size": 3}
    options["padding"] = 1
    if knob % 5 == 4:
        options["stride"] = 2
    if options["out_channels"] == channels and knob % 3 == 2:
        options["groups"] = channels
    return options


def _conv_type(x: TensorType, out_channels: int, stride: int = 1, **_options: Any) -> TensorType:
    return _weighted(x, (x.shape[0], out_channels, *(-(-size // stride) for size in x.shape[2:])))


def _pointwise_conv(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"in_channels": x.shape[1], "out_channels": _width(knob, x.shape[1]), "kernel_size": 1}


def _transposed_conv(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"in_channels": x.shape[1], "out_channels": _width(knob, x.shape[1]), "kernel_size": 2, "stride": 2}


def _transposed_conv_type(x: TensorType, out_channels: int, **_options: Any) -> TensorType:
    return _weighted(x, (x.shape[0], out_channels, *(2 * size for size in x.shape[2:])))


def _batch_norm(rank: int) -> Any:
    # More than one value a channel: batch norm refuses less in train mode.
    return lambda x: _single(x) and x.ndim == rank and x.numel // x.shape[1] > 1


def _features(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"num_features": x.shape[1]}


def _normed(x: TensorType, **_options: Any) -> TensorType:
    # A batch norm in eval mode divides by its running statistics, so nothing is normalised yet.
    return x.within(-2 * x.bound - 4, 2 * x.bound + 4)._replace(gradient=True)


def _groups(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"num_groups": 2 if x.shape[1] % 2 == 0 else 1, "num_channels": x.shape[1]}


def _group_norm(x: TensorType) -> bool:
    return _single(x) and x.ndim >= 2 and x.numel // max(1, x.shape[1]) > 2


def _layer_norm(x: TensorType) -> bool:
    return _single(x) and x.ndim >= 1 and x.shape[-1] >= 2


def _layer_shape(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"normalized_shape": x.shape[-1]}


def _poolable(x: TensorType) -> bool:
    return _single(x) and x.ndim == 4 and min(x.shape[2:]) >= 2


def _window(_knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"kernel_size": 2}


def _halved(x: TensorType, **_options: Any) -> TensorType:
    return x.reshaped([*x.shape[:2], *(size // 2 for size in x.shape[2:])])


def _target(knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"output_size": 1 + knob % 2}


def _adapted(x: TensorType, output_size: int) -> TensorType:
    return x.reshaped([*x.shape[:2], output_size, output_size])


def _flattened(x: TensorType) -> TensorType:
    return x.reshaped([x.shape[0], x.numel // x.shape[0]])


def _same(x: TensorType, **_options: Any) -> TensorType:
    return x


def _slope(x: TensorType, **_options: Any) -> TensorType:
    return x._replace(gradient=True)


def _dim(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": knob % x.ndim}


def _unit(x: TensorType, **_options: Any) -> TensorType:
    return x.within(0, 1)


def _rate(knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"p": (1 + knob % 3) / 4}


def _rate_in_place(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {**_rate(knob, x), "inplace": True}


def _dropped(x: TensorType, p: float, **_options: Any) -> TensorType:
    # What survives is scaled by 1 / (1 - p).
    return x.within(min(x.low / (1 - p), 0.0), max(x.high / (1 - p), 0.0))


def _alpha_dropped(x: TensorType, **_options: Any) -> TensorType:
    return x.within(-4 * x.bound - 4, 4 * x.bound + 4)


def _embeddable(x: TensorType) -> bool:
    return x.is_integer and x.low >= 0 and x.high <= 64 and x.ndim <= 3


def _table(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"num_embeddings": int(x.high) + 1, "embedding_dim": 2 + knob % 3}


def _embedded(x: TensorType, embedding_dim: int, **_options: Any) -> TensorType:
    return TensorType((*x.shape, embedding_dim), torch.float32, -5, 5, gradient=True)


def _attends(x: TensorType) -> bool:
    return _single(x) and x.ndim == 3


def _heads(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"embed_dim": x.shape[-1], "num_heads": 1, "batch_first": True}


def _attended(x: TensorType, **_options: Any) -> tuple[TensorType, TensorType]:
    batch, length, _ = x.shape
    return _weighted(x, x.shape), TensorType((batch, length, length), x.dtype, 0, 1, gradient=True)


def _three_times(arguments: tuple[Local, ...], _options: Mapping[str, Any]) -> Call:
    return Call("module", "", arguments * 3)


def _cells(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"input_size": x.shape[-1], "hidden_size": _width(knob, x.shape[-1]), "batch_first": True}


def _state_type(x: TensorType, hidden_size: int) -> TensorType:
    return TensorType((1, x.shape[0], hidden_size), x.dtype, -1, 1, gradient=True)


def _gru(x: TensorType, hidden_size: int, **_options: Any) -> tuple[TensorType, ...]:
    return TensorType((*x.shape[:2], hidden_size), x.dtype, -1, 1, gradient=True), _state_type(x, hidden_size)


def _lstm(x: TensorType, hidden_size: int, **_options: Any) -> tuple[Any, ...]:
    output, state = _gru(x, hidden_size)
    return output, (state, state.within(-4, 4))


def _both(a: TensorType, b: TensorType) -> bool:
    return _single(a) and _single(b) and a.ndim == b.ndim == 2 and a.shape[0] == b.shape[0]


def _bilinear(knob: int, a: TensorType, b: TensorType) -> Mapping[str, Any]:
    return {"in1_features": a.shape[1], "in2_features": b.shape[1], "out_features": 2 + knob % 3}


def _bilinear_type(a: TensorType, b: TensorType, out_features: int, **_options: Any) -> TensorType:
    bound = a.bound * b.bound * max(a.shape[1], b.shape[1]) ** 2 + 1
    return TensorType((a.shape[0], out_features), a.dtype, -bound, bound, gradient=True)


def _upsampled(x: TensorType, **_options: Any) -> TensorType:
    return x.reshaped([*x.shape[:2], *(2 * size for size in x.shape[2:])])


def _layer(name: str, accepts: Any, infer: Any, options: Any = None, positional: str = "", **more: Any) -> OpSpec:
    chosen = options or (lambda *_: {})
    return OpSpec(f"nn.{name}", accepts, infer, options=chosen, positional=tuple(positional.split()), **more)


LINEAR = _layer("Linear", _vector, _linear_type, _linear, "in_features out_features")
BATCH_NORM = [
    _layer("BatchNorm1d", _batch_norm(2), _normed, _features, "num_features", effects=STATE),
    _layer("BatchNorm1d", _batch_norm(3), _normed, _features, "num_features", effects=STATE),
    _layer("BatchNorm2d", _batch_norm(4), _normed, _features, "num_features", effects=STATE),
]
_CONV = "in_channels out_channels kernel_size"
LAYERS = [
    LINEAR,
    LINEAR,
    _layer("Conv2d", _channels(4), _conv_type, _conv, _CONV),
    _layer("Conv2d", _channels(4), _conv_type, _conv, _CONV),
    _layer("Conv2d", _channels(4), _conv_type, _pointwise_conv, _CONV),
    _layer("Conv1d", _channels(3), _conv_type, _conv, _CONV),
    _layer("ConvTranspose2d", _channels(4), _transposed_conv_type, _transposed_conv, _CONV),
    _layer("LayerNorm", _layer_norm, _normed, _layer_shape, "normalized_shape"),
    _layer("GroupNorm", _group_norm, _normed, _groups, "num_groups num_channels"),
    _layer("MaxPool2d", _poolable, _halved, _window, "kernel_size"),
    _layer("AvgPool2d", _poolable, _halved, _window, "kernel_size"),
    _layer("AdaptiveAvgPool2d", _channels(4), _adapted, _target, "output_size"),
    _layer("Flatten", lambda x: x.ndim >= 2, _flattened, effects=frozenset({"view"})),
    _layer("PReLU", _single, _slope),
    _layer("Softmax", lambda x: x.is_float and x.ndim >= 1, _unit, _dim),
    _layer("Upsample", _channels(4), _upsampled, lambda *_: {"scale_factor": 2}),
    _layer("Embedding", _embeddable, _embedded, _table, "num_embeddings embedding_dim"),
    _layer("MultiheadAttention", _attends, _attended, _heads, "embed_dim num_heads", emit=_three_times),
    _layer("GRU", _attends, _gru, _cells, "input_size hidden_size"),
    _layer("LSTM", _attends, _lstm, _cells, "input_size hidden_size"),
    _layer("Bilinear", _both, _bilinear_type, _bilinear, "in1_features in2_features out_features", arity=2),
]
IDENTITY = _layer("Identity", lambda _x: True, _same, effects=frozenset({"view"}))
DROPOUT = [
    _layer("Dropout", lambda x: x.is_float, _dropped, _rate, "p", effects=RANDOM_VIEW),
    _layer("Dropout", lambda x: x.is_float, _dropped, _rate_in_place, "p", effects=RANDOM_WRITE),
    _layer("Dropout2d", _channels(4), _dropped, _rate, "p", effects=RANDOM_VIEW),
    _layer("AlphaDropout", lambda x: x.is_float, _alpha_dropped, _rate, "p", effects=RANDOM_VIEW),
]
# What a Sequential, a ModuleList or a ModuleDict may hold: one tensor in, one tensor out.
CHAINABLE = [
    spec for spec in LAYERS if spec.arity == 1 and spec.name.split(".")[1] not in ("MultiheadAttention", "GRU", "LSTM")
]
LEAVES = LAYERS + ACTIVATIONS


def _like(low: float, high: float) -> Any:
    return lambda x, **_options: x._replace(low=low, high=high, gradient=False)


def _of_sigmoid(arguments: tuple[Local, ...], _options: Mapping[str, Any]) -> Call:
    return Call("function", "", (Call("function", "torch.sigmoid", arguments),))


RANDOM_LIKE = [
    OpSpec("torch.rand_like", lambda x: x.is_float, _like(0, 1), effects=RANDOM),
    OpSpec("torch.randn_like", lambda x: x.is_float, _like(-6, 6), effects=RANDOM),
    OpSpec("torch.bernoulli", lambda x: x.is_float, _unit, emit=_of_sigmoid, effects=RANDOM),
    OpSpec("torch.rand_like", lambda x: x.is_float, _like(0, 1), effects=RANDOM),
    OpSpec("Tensor.bernoulli", lambda x: x.is_float, _unit, emit=_of_sigmoid, effects=RANDOM),
]
RANDOM_OPS = [
    *RANDOM_LIKE,
    OpSpec("Tensor.uniform_", lambda x: x.is_float, lambda x: x.within(0, 1), effects=RANDOM_WRITE),
]
