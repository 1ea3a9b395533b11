"""What a call of a function may do: operators, builtins, torch's functions."""

from __future__ import annotations

import collections
import collections.abc
import copy
import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, cast

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.fx import node as fx_node

from fxpasses.graph.effects.behaviour import (
    CHECK,
    FRESH,
    FRESH_NUMERIC,
    NO_TENSOR,
    SHAPE_ONLY,
    Behaviour,
    argument,
    key_at,
    opaque,
    views,
    with_out,
)
from fxpasses.graph.effects.copies import clone_each, clone_value
from fxpasses.graph.effects.functional import behaviour_of_functional
from fxpasses.graph.effects.methods import (
    SHAPE_ATTRIBUTES,
    WRITTEN_ATTRIBUTES,
    behaviour_of_method,
    concatenates,
    in_place,
    is_in_place_name,
    stores_item,
)
from fxpasses.graph.effects.schema import facts_of_name, facts_of_overload, facts_of_packet

Args = Sequence[object]
Kwargs = Mapping[str, object]
Rule = Callable[[Args, Kwargs], Behaviour]

_SHAPES = (len, isinstance, issubclass, hasattr, type, id, callable, hash, torch.device)
_NUMBERS = (int, float, bool, str, complex, print, all, any, round, range, repr, ord, chr, format, torch.Size)
_CONTAINERS = (tuple, list, dict, set, frozenset, zip, enumerate, reversed, sorted, iter, next, max, min)
_MORE_CONTAINERS = (collections.OrderedDict, collections.deque, copy.copy, operator.pos, slice)
_CONCATENATIONS = (operator.add, operator.mul, operator.concat, operator.or_)

_SHAPE_FUNCTIONS = frozenset("is_tensor numel is_floating_point is_complex is_storage is_grad_enabled".split())
_SAME_MEMORY = frozenset("as_tensor asarray from_numpy frombuffer from_dlpack".split())
_RANDOM = frozenset("pca_lowrank svd_lowrank lobpcg".split())
_AMBIENT_WORDS = ("_autocast", "_set_grad_enabled", "record_function", "_inference_mode", "_dual_level")


def behaviour_of_function(target: Callable[..., Any], args: Args, kwargs: Kwargs) -> Behaviour | None:
    """Returns what calling `target` may do, or None for an unknown function.

    Example:
        >>> behaviour_of_function(torch.nn.functional.relu, ("x",), {"inplace": True}).writes
        frozenset({0})
        >>> behaviour_of_function(torch.relu, ("x",), {}).writes
        frozenset()
    """
    if isinstance(target, OpOverload):
        return _of_operator(target, args, kwargs)
    if isinstance(target, OpOverloadPacket):
        facts = facts_of_packet(target)
        return None if facts is None else with_out(facts.behaviour(args, kwargs), kwargs)
    if not isinstance(target, collections.abc.Hashable):
        return None
    return _of_python(target, args, kwargs) or _of_torch(target, args, kwargs)


def _of_operator(target: OpOverload, args: Args, kwargs: Kwargs) -> Behaviour:
    name = target.name()
    if "_assert" in name or "sym_constrain" in name:
        return CHECK
    if _is_ambient(target, name):
        return Behaviour(ambient=True)
    behaviour = facts_of_overload(target).behaviour(args, kwargs)
    outs = [
        key_at(args, kwargs, index, each.name) for index, each in enumerate(target._schema.arguments) if each.is_out
    ]
    written = frozenset[int | str]().union(*outs)
    return behaviour.also(writes=written, returns=written)


def _is_ambient(target: object, name: str) -> bool:
    declared = cast("set[object]", getattr(fx_node, "_side_effectful_functions", set[object]()))
    return any(word in name for word in _AMBIENT_WORDS) or (target in declared and not is_in_place_name(name))


def _of_python(target: Callable[..., Any], args: Args, kwargs: Kwargs) -> Behaviour | None:
    """Answers for Python's own functions, and for those that are marked as having a side effect."""
    rule = _rules().get(target)
    if rule is not None:
        return rule(args, kwargs)
    name = str(getattr(target, "__name__", ""))
    if name.startswith(("_assert", "_check")) and str(getattr(target, "__module__", "")).startswith("torch"):
        return CHECK
    if _is_ambient(target, name):
        return Behaviour(ambient=True)
    is_record = isinstance(target, type) and issubclass(target, tuple) and hasattr(target, "_fields")
    return views(args, kwargs) if is_record else None


def _of_torch(target: Callable[..., Any], args: Args, kwargs: Kwargs) -> Behaviour | None:
    place = _places().get(target)
    if place is None:
        return None
    # Its own name: torch.mm equals torch.dsmm, so that the place may have been found under another one.
    name = str(getattr(target, "__name__", ""))
    if place == "Tensor":
        return behaviour_of_method(name, args, kwargs)
    if is_in_place_name(name) or place == "init":
        return in_place(name, args, kwargs)
    if place == "functional":
        return behaviour_of_functional(name.lstrip("_"), target, args, kwargs)
    return _of_torch_name(place, name, args, kwargs)


def _of_torch_name(prefix: str, name: str, args: Args, kwargs: Kwargs) -> Behaviour | None:
    if name in _SHAPE_FUNCTIONS or name.lstrip("_").startswith("sym_"):
        return SHAPE_ONLY
    if name in _SAME_MEMORY:
        return views(args, kwargs)
    if name in _RANDOM:
        return Behaviour(random=True)
    facts = facts_of_name(prefix + name.removeprefix(prefix))
    if facts is None:
        return FRESH if getattr(torch.functional, name, None) is not None else None
    return with_out(facts.behaviour(args, kwargs), kwargs)


@cache
def _places() -> Mapping[object, str]:
    """Returns where torch keeps each of its functions: the prefix of that place's operators, or the place's name."""
    places: dict[object, str] = {}
    for place, owner in _owners():
        # `vars` of a module, not `dir`: asking torch for each of its names would import what it loads lazily.
        for name in vars(owner) if isinstance(owner, ModuleType) else dir(owner):
            function = getattr(owner, name, None)
            if callable(function) and not isinstance(function, type) and isinstance(function, collections.abc.Hashable):
                places.setdefault(function, place)
    return places


def _owners() -> Iterator[tuple[str, object]]:
    builtin = cast("Any", torch._C)
    yield "", builtin._VariableFunctions
    yield "", torch.functional
    yield "functional", torch.nn.functional
    yield "functional", builtin._nn
    yield "init", torch.nn.init
    yield "linalg_", torch.linalg
    yield "special_", torch.special
    yield "fft_", torch.fft
    yield "Tensor", torch.Tensor
    yield "", torch


@cache
def _rules() -> Mapping[object, Rule]:
    """Returns the rules for Python's own functions."""
    rules: dict[object, Rule] = {}
    for group, behaviour in (
        (vars(math).values(), NO_TENSOR),
        (vars(operator).values(), FRESH_NUMERIC),
        (_SHAPES, SHAPE_ONLY),
        (_NUMBERS, NO_TENSOR),
        ((abs, pow, divmod), FRESH_NUMERIC),
        ((copy.deepcopy,), FRESH),
    ):
        rules.update({each: functools.partial(_always, behaviour) for each in group if callable(each)})
    rules.update(dict.fromkeys((*_CONTAINERS, *_MORE_CONTAINERS), views))
    rules.update(dict.fromkeys(_CONCATENATIONS, concatenates))
    for name in "iadd isub imul itruediv ifloordiv imod ipow iand ior ixor ilshift irshift imatmul".split():
        rules[getattr(operator, name)] = functools.partial(in_place, f"__{name}__")
    rules[operator.iconcat] = functools.partial(in_place, "__iadd__")
    rules[operator.getitem] = _get_item
    rules[operator.setitem] = rules[operator.delitem] = _set_item
    rules[getattr] = _get_attribute
    rules[clone_each] = functools.partial(_always, Behaviour(kind="tensors"))
    rules[clone_value] = functools.partial(_always, Behaviour(kind="first"))
    rules[sum] = rules[math.prod] = _sum
    # Of Python 3.11, and of 3.12.
    rules |= {each: opaque for name, each in vars(operator).items() if name == "call"}
    rules |= {each: functools.partial(_always, FRESH_NUMERIC) for name, each in vars(math).items() if name == "sumprod"}
    return rules


def _always(behaviour: Behaviour, args: Args, kwargs: Kwargs) -> Behaviour:  # noqa: ARG001 - the form of a Rule
    return behaviour


def _get_item(args: Args, kwargs: Kwargs) -> Behaviour:  # noqa: ARG001 - the form of a Rule
    return Behaviour(returns=frozenset([0]), kind="item")


def _set_item(args: Args, kwargs: Kwargs) -> Behaviour:  # noqa: ARG001 - the form of a Rule
    # The code that torch generates for it gives the name of the node to the object that was written into.
    return stores_item(args).also(returns=frozenset([0]))


def _get_attribute(args: Args, kwargs: Kwargs) -> Behaviour:
    name = argument(args, kwargs, 1, "name", None)
    if name in SHAPE_ATTRIBUTES:
        return NO_TENSOR if name in WRITTEN_ATTRIBUTES else SHAPE_ONLY
    return Behaviour(returns=frozenset([0, 2][: 2 if len(args) > 2 else 1]))


def _sum(args: Args, kwargs: Kwargs) -> Behaviour:
    # Without a start value the items are numbers or tensors, and the first one with 0 added, or times 1, is fresh already.
    return FRESH_NUMERIC if len(args) + len(kwargs) < 2 else views(args, kwargs)
