"""Operations that rearrange a tensor: views of it, copies of parts of it, and joins of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from fxpasses.testing.models.op_spec import OpSpec
from fxpasses.testing.models.program import Call, Local
from fxpasses.testing.models.types import TensorType

VIEW = frozenset({"view"})
VIEWS = frozenset({"view", "views"})
OVERLAP = frozenset({"view", "overlap"})


def _at_least(rank: int) -> Callable[[TensorType], bool]:
    return lambda x: x.ndim >= rank


def _dim(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": knob % x.ndim}


def _two_dims(knob: int, x: TensorType) -> Mapping[str, Any]:
    first = knob % x.ndim
    return {"dim0": first, "dim1": (first + 1) % x.ndim}


def _transposed(x: TensorType, dim0: int, dim1: int) -> TensorType:
    shape = list(x.shape)
    shape[dim0], shape[dim1] = shape[dim1], shape[dim0]
    return x.reshaped(shape)


def _order(knob: int, x: TensorType) -> Mapping[str, Any]:
    shift = 1 + knob % (x.ndim - 1)
    order = list(range(x.ndim))
    return {"dims": tuple(order[shift:] + order[:shift])}


def _permuted(x: TensorType, dims: tuple[int, ...]) -> TensorType:
    return x.reshaped([x.shape[dim] for dim in dims])


def _new_dim(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": knob % (x.ndim + 1)}


def _unsqueezed(x: TensorType, dim: int) -> TensorType:
    return x.reshaped([*x.shape[:dim], 1, *x.shape[dim:]])


def _one_dim(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": x.shape.index(1)}


def _without(x: TensorType, dim: int) -> TensorType:
    return x.reshaped([*x.shape[:dim], *x.shape[dim + 1 :]])


def _sized(x: TensorType, dim: int, size: int) -> TensorType:
    return x.reshaped([*x.shape[:dim], size, *x.shape[dim + 1 :]])


def _from_second(_knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"start_dim": 1}


def _flattened(x: TensorType, start_dim: int = 0) -> TensorType:
    rest = x.reshaped(x.shape[start_dim:]).numel
    return x.reshaped([*x.shape[:start_dim], rest])


def _other_shape(knob: int, x: TensorType) -> Mapping[str, Any]:
    if knob % 2 and x.ndim >= 2:
        return {"shape": (x.shape[0], -1)}
    return {"shape": (-1, x.shape[-1])}


def _viewed(x: TensorType, shape: tuple[int, ...]) -> TensorType:
    known = -x.reshaped(shape).numel
    return x.reshaped([x.numel // known if size == -1 else size for size in shape])


def _range(knob: int, x: TensorType) -> Mapping[str, Any]:
    dim = knob % x.ndim
    start = (knob // 8) % x.shape[dim]
    return {"dim": dim, "start": start, "length": 1 + (knob // 16) % (x.shape[dim] - start)}


def _narrowed(x: TensorType, dim: int, length: int, **_options: Any) -> TensorType:
    return _sized(x, dim, length)


def _position(knob: int, x: TensorType) -> Mapping[str, Any]:
    dim = knob % x.ndim
    return {"dim": dim, "index": (knob // 8) % x.shape[dim]}


def _selected(x: TensorType, dim: int, **_options: Any) -> TensorType:
    return _without(x, dim)


def _expansion(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"size": (2 + knob % 2, *(-1 for _ in x.shape))}


def _expanded(x: TensorType, size: tuple[int, ...]) -> TensorType:
    return x.reshaped([size[0], *x.shape])


def sliced(knob: int, x: TensorType) -> tuple[Any, ...] | slice | int:
    """An index of a tensor: `x[0]`, `x[:, :2]`, `x[:, None]`, `x[..., 0]`, `x[::2]`."""
    forms: list[Any] = [
        (slice(None), slice(max(1, x.shape[-1] - 1))) if x.ndim == 2 else slice(max(1, x.shape[0] - 1)),
        0,
        (slice(None), None),
        (Ellipsis, x.shape[-1] - 1),
        slice(None, None, 2),
    ]
    return forms[knob % len(forms)]


def indexed(x: TensorType, index: Any) -> TensorType:
    """The type of `x[index]`."""
    # A meta tensor answers without computing anything; strides and values play no part.
    return x.reshaped(torch.empty(x.shape, device="meta")[index].shape)


def _subscript(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"index": sliced(knob, x)}


def _row(name: str, rank: int, options: Any, infer: Any, positional: str = "", **more: Any) -> OpSpec:
    accepts = more.pop("accepts", _at_least(rank))
    return OpSpec(name, accepts, infer, options=options, positional=tuple(positional.split()), **more)


def _has_one(x: TensorType) -> bool:
    return 1 in x.shape


VIEWING = [
    _row("Tensor.flatten", 2, _from_second, _flattened, "start_dim", effects=VIEW),
    _row("torch.flatten", 2, _from_second, _flattened, "start_dim", effects=VIEW),
    _row("Tensor.transpose", 2, _two_dims, _transposed, "dim0 dim1", effects=VIEW),
    _row("torch.transpose", 2, _two_dims, _transposed, effects=VIEW),
    _row("Tensor.permute", 2, _order, _permuted, "dims", effects=VIEW),
    _row("torch.permute", 2, _order, _permuted, "dims", effects=VIEW),
    _row("torch.unsqueeze", 0, _new_dim, _unsqueezed, "dim", effects=VIEW),
    _row("Tensor.unsqueeze", 0, _new_dim, _unsqueezed, "dim", effects=VIEW),
    _row("Tensor.squeeze", 1, _one_dim, _without, "dim", accepts=_has_one, effects=VIEW),
    _row("torch.squeeze", 1, _one_dim, _without, "dim", accepts=_has_one, effects=VIEW),
    _row("Tensor.reshape", 2, _other_shape, _viewed, "shape", effects=VIEW),
    _row("torch.reshape", 2, _other_shape, _viewed, "shape", effects=VIEW),
    _row("Tensor.narrow", 1, _range, _narrowed, "dim start length", effects=VIEW),
    _row("torch.narrow", 1, _range, _narrowed, effects=VIEW),
    _row("Tensor.select", 2, _position, _selected, "dim index", effects=VIEW),
    _row("operator.getitem", 2, _subscript, indexed, "index", effects=VIEW),
    _row("Tensor.expand", 1, _expansion, _expanded, "size", effects=OVERLAP),
    OpSpec("Tensor.contiguous", _at_least(0), lambda x: x, effects=VIEW),
    OpSpec("Tensor.t", lambda x: x.ndim == 2, lambda x: _transposed(x, 0, 1), effects=VIEW),
    OpSpec("Tensor.detach", lambda x: x.gradient, lambda x: x._replace(gradient=False), effects=OVERLAP),
    _row(
        "Tensor.movedim",
        2,
        lambda *_: {"source": 0, "destination": -1},
        lambda x, **_: x.reshaped([*x.shape[1:], x.shape[0]]),
        "source destination",
        effects=VIEW,
    ),
    OpSpec("Tensor.view_as", lambda x, y: x.shape == y.shape, lambda x, _y: x, arity=2, effects=OVERLAP),
]


def _halves(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"chunks": 2, "dim": _even(x, 2)}


def _even(x: TensorType, parts: int) -> int:
    return next((dim for dim in reversed(range(x.ndim)) if x.shape[dim] >= parts), 0)


def _splittable(x: TensorType) -> bool:
    return x.ndim >= 1 and any(size >= 2 for size in x.shape)


def _split_sizes(knob: int, x: TensorType) -> Mapping[str, Any]:
    dim = _even(x, 2)
    first = 1 + knob % (x.shape[dim] - 1)
    return {"split_size_or_sections": [first, x.shape[dim] - first], "dim": dim}


def _method_split_sizes(knob: int, x: TensorType) -> Mapping[str, Any]:
    options = _split_sizes(knob, x)
    return {"split_size": options["split_size_or_sections"], "dim": options["dim"]}


def _chunked(x: TensorType, chunks: int, dim: int) -> tuple[TensorType, ...]:
    larger = -(-x.shape[dim] // chunks)
    sizes = [min(larger, x.shape[dim] - start) for start in range(0, x.shape[dim], larger)]
    return tuple(_sized(x, dim, size) for size in sizes)


def _split(x: TensorType, dim: int, **sections: list[int]) -> tuple[TensorType, ...]:
    (sizes,) = sections.values()
    return tuple(_sized(x, dim, size) for size in sizes)


def _first_dim(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dim": _even(x, 2)}


def _unbound(x: TensorType, dim: int) -> tuple[TensorType, ...]:
    return tuple(_without(x, dim) for _ in range(x.shape[dim]))


def _few(x: TensorType) -> bool:
    return _splittable(x) and x.ndim >= 2 and x.shape[_even(x, 2)] <= 4


SPLITTING = [
    OpSpec("torch.chunk", _splittable, _chunked, options=_halves, positional=("chunks",), effects=VIEWS),
    OpSpec(
        "torch.split", _splittable, _split, options=_split_sizes, positional=("split_size_or_sections",), effects=VIEWS
    ),
    OpSpec("Tensor.chunk", _splittable, _chunked, options=_halves, positional=("chunks",), effects=VIEWS),
    OpSpec("Tensor.split", _splittable, _split, options=_method_split_sizes, positional=("split_size",), effects=VIEWS),
    OpSpec("torch.unbind", _few, _unbound, options=_first_dim, effects=VIEWS),
    OpSpec("Tensor.unbind", _few, _unbound, options=_first_dim, positional=("dim",), effects=VIEWS),
]


def _in_a_list(arguments: tuple[Local, ...], options: Mapping[str, Any]) -> Call:
    return Call("function", "", (list(arguments),), options)


def _in_a_tuple(arguments: tuple[Local, ...], options: Mapping[str, Any]) -> Call:
    return Call("function", "", (arguments, options["dim"]))


def _same_but(a: TensorType, b: TensorType) -> int | None:
    """The one dimension along which two tensors can be joined; the last one if they are alike."""
    if a.dtype is not b.dtype or a.ndim != b.ndim or a.ndim == 0:
        return None
    differing = [dim for dim in range(a.ndim) if a.shape[dim] != b.shape[dim]]
    if len(differing) > 1:
        return None
    return differing[0] if differing else a.ndim - 1


def _join_dim(knob: int, a: TensorType, b: TensorType) -> Mapping[str, Any]:
    return {"dim": knob % a.ndim if a.shape == b.shape else _same_but(a, b)}


def _wider(a: TensorType, b: TensorType) -> TensorType:
    return a._replace(low=min(a.low, b.low), high=max(a.high, b.high), gradient=a.gradient or b.gradient)


def _joined(a: TensorType, b: TensorType, dim: int) -> TensorType:
    return _sized(_wider(a, b), dim, a.shape[dim] + b.shape[dim])


def _stacked(a: TensorType, b: TensorType, dim: int) -> TensorType:
    return _wider(a, b).reshaped([*a.shape[:dim], 2, *a.shape[dim:]])


def _joinable(a: TensorType, b: TensorType) -> bool:
    return _same_but(a, b) is not None


def _alike(a: TensorType, b: TensorType) -> bool:
    return a.dtype is b.dtype and a.shape == b.shape


JOINING = [
    OpSpec("torch.cat", _joinable, _joined, arity=2, options=_join_dim, emit=_in_a_list),
    OpSpec("torch.cat", _joinable, _joined, arity=2, options=_join_dim, emit=_in_a_tuple),
    OpSpec("torch.concat", _joinable, _joined, arity=2, options=_join_dim, emit=_in_a_list),
    OpSpec("torch.stack", _alike, _stacked, arity=2, options=lambda knob, a, _b: _new_dim(knob, a), emit=_in_a_list),
    OpSpec(
        "torch.hstack",
        lambda a, b: _alike(a, b) and a.ndim >= 2,
        lambda a, b: _joined(a, b, 1),
        arity=2,
        emit=_in_a_list,
    ),
    OpSpec(
        "torch.vstack",
        lambda a, b: _alike(a, b) and a.ndim >= 2,
        lambda a, b: _joined(a, b, 0),
        arity=2,
        emit=_in_a_list,
    ),
]


def _flip_dims(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"dims": (knob % x.ndim,)}


def _roll(knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"shifts": 1 + knob % 2, "dims": knob % x.ndim}


def _diagonal(knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"diagonal": knob % 3 - 1}


def _repeats(_knob: int, x: TensorType) -> Mapping[str, Any]:
    return {"repeats": (*(1 for _ in x.shape[1:]), 2)}


def _interleaved(x: TensorType, dim: int, **_options: Any) -> TensorType:
    return _sized(x, dim, x.shape[dim] * 2)


def _repeated(x: TensorType, repeats: tuple[int, ...]) -> TensorType:
    return x.reshaped([size * count for size, count in zip(x.shape, repeats, strict=True)])


def _padding(_knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"pad": (1, 0)}


def _padded(x: TensorType, pad: tuple[int, int]) -> TensorType:
    return _sized(x, x.ndim - 1, x.shape[-1] + sum(pad)).within(min(x.low, 0.0), max(x.high, 0.0))


def _image(x: TensorType) -> bool:
    return x.is_float and x.ndim == 4


def _scale(_knob: int, _x: TensorType) -> Mapping[str, Any]:
    return {"scale_factor": 2, "mode": "nearest"}


def _doubled(x: TensorType, **_options: Any) -> TensorType:
    return x.reshaped([*x.shape[:2], *(2 * size for size in x.shape[2:])])


def _shuffled(x: TensorType, **_options: Any) -> TensorType:
    batch, channels, height, width = x.shape
    return x.reshaped([batch, channels // 4, height * 2, width * 2])


def with_zero(infer: Callable[..., TensorType]) -> Callable[..., TensorType]:
    """The same result, where some elements are zero."""
    return lambda x, **options: (lambda y: y.within(min(y.low, 0), max(y.high, 0)))(infer(x, **options))


def same(x: TensorType, **_options: Any) -> TensorType:
    """A result of the argument's type."""
    return x


COPYING = [
    _row("torch.flip", 1, _flip_dims, same, "dims"),
    _row("torch.roll", 1, _roll, same, "shifts dims"),
    _row("torch.tril", 2, _diagonal, with_zero(same)),
    _row("torch.triu", 2, _diagonal, with_zero(same)),
    _row("Tensor.repeat", 1, _repeats, _repeated, "repeats"),
    _row("F.pad", 1, _padding, _padded, "pad"),
    _row("F.interpolate", 4, _scale, _doubled, accepts=_image),
    _row(
        "F.pixel_shuffle",
        4,
        lambda *_: {"upscale_factor": 2},
        _shuffled,
        "upscale_factor",
        accepts=lambda x: _image(x) and x.shape[1] % 4 == 0,
    ),
    _row(
        "torch.cumsum",
        1,
        _dim,
        lambda x, dim: x.within(min(x.low, x.low * x.shape[dim]), max(x.high, x.high * x.shape[dim])),
        accepts=lambda x: x.is_float and x.ndim >= 1,
    ),
    _row(
        "torch.repeat_interleave",
        1,
        lambda _knob, x: {"repeats": 2, "dim": x.ndim - 1},
        _interleaved,
        "repeats",
    ),
]
RESHAPING = VIEWING + COPYING
