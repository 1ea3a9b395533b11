"""What a call of a method may do, by the method's name: of a tensor, or of a Python container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from fxpasses.graph.effects.behaviour import (
    FRESH,
    FRESH_NUMERIC,
    FRESH_TENSOR,
    NO_TENSOR,
    SHAPE_ONLY,
    UNKNOWN,
    Behaviour,
    Kind,
    all_keys,
    argument,
    opaque,
    views,
    with_out,
)
from fxpasses.graph.effects.schema import facts_of_name

SHAPE_ATTRIBUTES = frozenset(
    "shape dtype device layout ndim names requires_grad is_leaf grad_fn itemsize nbytes is_cuda is_cpu is_meta is_sparse "
    "is_quantized is_mkldnn is_nested output_nr _version __class__ __name__ training".split()
)
"""Attributes of a tensor that say nothing about its elements."""

WRITTEN_ATTRIBUTES = frozenset("_version requires_grad is_leaf grad_fn".split())
"""Those of them that a write changes: it is counted, and brings autograd with it."""

_TENSOR_VIEW_ATTRIBUTES = frozenset("T mT H mH data real imag".split())

_SHAPE_METHODS = frozenset(
    "size dim ndimension numel nelement stride storage_offset element_size get_device data_ptr is_contiguous is_complex "
    "is_floating_point is_inference is_shared is_pinned is_signed is_conj is_neg is_same_size dim_order has_names "
    "register_hook retain_grad mark_non_differentiable set_materialize_grads __len__ "
    "join startswith endswith strip lower upper replace encode".split()
)
"""Methods that look at no element; those of text among them."""

_CONVERSIONS = frozenset(
    "type to cpu cuda float double half bfloat16 int long short char byte bool cfloat cdouble chalf xpu ipu pin_memory "
    "to_mkldnn as_subclass numpy rename refine_names align_to align_as __array__ storage untyped_storage "
    "requires_grad_ share_memory_ resize resize_as".split()
)
"""Methods that may return the tensor itself, or something on its memory."""

_CONTAINER_VIEWS = frozenset("get items keys values copy index __iter__ __next__ __reversed__ _asdict _replace".split())
_CONTAINER_WRITES = frozenset("pop popitem clear remove discard reverse __delitem__".split())
_CONTAINER_STORES = frozenset("append extend insert update setdefault appendleft extendleft save_for_backward".split())

_IN_PLACE_OPERATORS = frozenset(
    "__iadd__ __isub__ __imul__ __itruediv__ __idiv__ __ifloordiv__ __imod__ __ipow__ __iand__ __ior__ __ixor__ "
    "__ilshift__ __irshift__ __imatmul__".split()
)
_CONCATENATIONS = frozenset(["__add__", "__radd__", "__mul__", "__rmul__", "__or__", "__ror__"])
_ARITHMETIC = frozenset(
    "sub truediv div floordiv mod pow and xor lshift rshift matmul eq ne lt le gt ge neg invert abs contains".split()
)
_NUMBERS = frozenset("bool int long float complex index hash repr str format nonzero sizeof".split())
_NUMBER_METHODS = frozenset("format count".split())
"""Methods that look at elements, and make no tensor; those of text and of lists among them."""

_WITHOUT_SCHEMA = frozenset("unique lu to_sparse_coo new_tensor item tolist".split())
"""Methods that are written in Python, and make something new."""


def is_in_place_name(name: str) -> bool:
    """Whether a tensor method or torch function of this name works in place by convention.

    Example:
        >>> [name for name in ("add_", "add", "__add__", "__iadd__") if is_in_place_name(name)]
        ['add_', '__iadd__']
    """
    return name in _IN_PLACE_OPERATORS or (name.endswith("_") and not name.endswith("__"))


def behaviour_of_method(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour | None:
    """Returns what calling the method may do, or None for an unknown method; `args[0]` is the object.

    Example:
        >>> behaviour_of_method("transpose", ("x", 0, 1), {}).returns
        frozenset({0})
        >>> behaviour_of_method("mul_", ("x", 2), {}).writes
        frozenset({0})
    """
    if name in _SHAPE_METHODS:
        return SHAPE_ONLY
    special = _conversion(name, args, kwargs) or _container(name, args, kwargs)
    if special is not None:
        return special
    if is_in_place_name(name):
        return in_place(name, args, kwargs)
    if name.startswith("__"):
        return _special_method(name, args, kwargs)
    if name in _NUMBER_METHODS:
        return NO_TENSOR
    facts = facts_of_name(name) if hasattr(torch.Tensor, name) else None
    if facts is not None:
        return with_out(facts.behaviour(args, kwargs), kwargs)
    return FRESH if name in _WITHOUT_SCHEMA else None


def in_place(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour:
    """The behaviour of a callee that writes its first argument by convention, and of which a schema may tell more."""
    if name == "set_":
        return opaque(args, kwargs)
    first = frozenset([0]) if args else frozenset(kwargs)
    if name in _IN_PLACE_OPERATORS:
        # Of containers too, whatever a schema says of tensors.
        return Behaviour(writes=first, returns=first, kind="first", links=True)
    facts = facts_of_name(name)
    if facts is None:
        return Behaviour(writes=first, returns=first, random=True)
    behaviour = facts.behaviour(args, kwargs).also(writes=first, returns=first)
    # Python returns the list of tensors that is written, also where the schema returns nothing.
    return replace(behaviour, kind="any") if behaviour.kind == "none" else behaviour


def stores_item(args: Sequence[object]) -> Behaviour:
    """The behaviour of `args[0][args[1]] = args[2]`: elements are copied into a tensor, but stored in a container."""
    index = args[1] if len(args) > 1 else UNKNOWN
    indexes_tensor = isinstance(index, slice | tuple | list | type(Ellipsis))
    return Behaviour(writes=frozenset([0]), links=not indexes_tensor, rebuilds=isinstance(index, str))


def concatenates(args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour:
    """The behaviour of `+` and `*`: fresh for tensors and numbers, but a container keeps what it holds."""
    return Behaviour(returns=all_keys(args, kwargs), concatenates=True)


def kind_of_attribute(name: str, owner: Kind) -> Kind:
    """Returns what the attribute of a value of kind `owner` is."""
    if name in SHAPE_ATTRIBUTES:
        return "none"
    return "tensor" if owner == "tensor" and name in _TENSOR_VIEW_ATTRIBUTES else "any"


def _conversion(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour | None:
    if name == "new":
        return views(args, kwargs)  # of another tensor, or of a storage: on its memory
    if name not in _CONVERSIONS:
        return None
    asks_for_type = name == "type" and len(args) + len(kwargs) == 1
    if asks_for_type:
        return SHAPE_ONLY
    always_copies = argument(args, kwargs, 99, "copy", False) is True
    kind: Kind = "any" if name in ("numpy", "storage", "untyped_storage", "__array__", "to") else "tensor"
    return FRESH_TENSOR if always_copies else Behaviour(returns=frozenset([0]), kind=kind)


def _container(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour | None:
    if name in _CONTAINER_VIEWS:
        return views(args, kwargs)
    if name in _CONTAINER_WRITES:
        return Behaviour(writes=frozenset([0]), returns=all_keys(args, kwargs), rebuilds=True)
    if name in _CONTAINER_STORES:
        return Behaviour(writes=frozenset([0]), returns=all_keys(args, kwargs), links=True, rebuilds=True)
    return None


def _special_method(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Behaviour | None:
    if name == "__getitem__":
        return Behaviour(returns=frozenset([0]), kind="item")
    if name == "__setitem__":
        return stores_item(args)
    if name == "__pos__":
        return Behaviour(returns=frozenset([0]), kind="first")
    if name in _CONCATENATIONS:
        return concatenates(args, kwargs)
    operation = name.strip("_")
    if operation in _ARITHMETIC or operation.removeprefix("r") in _ARITHMETIC:
        return FRESH_NUMERIC
    return NO_TENSOR if operation in _NUMBERS else None
