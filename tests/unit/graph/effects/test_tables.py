"""The tables of words that say what torch does, held against what torch does when it is called.

Each entry is called on small tensors; which arguments were written, and which share memory with the result, is looked
up in the tensors themselves.
"""

from __future__ import annotations

import collections
import copy
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from unit.graph.effects.seen_calls import (
    Args,
    Seen,
    assert_allowed,
    assert_reads_no_element,
    memory_of,
    see,
    seen_calls,
)

from fxpasses.graph.effects import functions, methods
from fxpasses.graph.effects.behaviour import NO_TENSOR, SHAPE_ONLY
from fxpasses.graph.effects.copies import clone_each
from fxpasses.graph.effects.functions import behaviour_of_function
from fxpasses.graph.effects.methods import behaviour_of_method


class _Pair(NamedTuple):
    """A record of two tensors."""

    a: Any
    b: Any


def _f(*shape: int) -> Tensor:
    return torch.rand(shape or (2, 2), generator=torch.Generator().manual_seed(0))


def _bits() -> Tensor:
    return torch.tensor([1, 2])


def _forms() -> list[Args]:
    """Arguments that one function or another takes."""
    pairs = [(_f(), _f()), (_bits(), _bits()), (_f(), 1), (_bits(), 1), (1, 2), (0.5, 0.25), ([_f()], [_f()])]
    ones = [
        _f(),
        _bits(),
        _f(1),
        torch.tensor(2),
        2,
        0.5,
        [_f(), _f()],
        (2, 2),
        {"a": _f()},
        {1, 2},
        "a",
        _Pair(_f(), _f()),
    ]
    more = [
        ([_f()], 2),
        ({"a": _f()}, {"b": _f()}),
        ({1}, {2}),
        ("cpu",),
        (_f(), "T"),
        ([_f(), _f()], 0),
        ({"a": _f()}, "a"),
    ]
    return [(), *((each,) for each in ones), *pairs, *more, (_f(), 0, 0.5), ([_f()], 0, _f()), ("ab", "c")]


_FORMS: dict[Any, Callable[[], list[Args]]] = {
    copy.deepcopy: lambda: [(_f(),), ([_f()],), (2,)],
    clone_each: lambda: [((_f(), _f()),), ([_f()],)],
    vars(operator).get("call"): lambda: [(torch.relu_, _f()), (torch.t, _f())],
    isinstance: lambda: [(_f(), Tensor)],
    issubclass: lambda: [(int, Tensor)],
    hasattr: lambda: [(_f(), "T")],
    next: lambda: [(iter([_f()]),), (iter([]), _f())],
    math.prod: lambda: [([_f(), _f()],), ([2, 3],), ([], _f())],
    vars(math).get("fma"): lambda: [(1.5, 2.0, 0.5), (torch.tensor(1.5), 2.0, 0.5)],  # of Python 3.13
    sum: lambda: [([_f(), _f()], 0), ([], _f())],
    slice: lambda: [(torch.tensor(0), torch.tensor(1))],
}


def _name(value: object) -> str:
    return str(getattr(value, "__name__", value))


@pytest.mark.parametrize("function", sorted(functions._rules(), key=_name), ids=_name)
def test_a_function_of_python_does_no_more_than_is_said_of_it(function: Callable[..., Any]) -> None:
    calls = seen_calls(function, _FORMS.get(function, _forms)())
    assert calls
    for seen in calls:
        assert_allowed(seen, behaviour_of_function(function, seen.args, seen.kwargs), _name(function))


@pytest.mark.parametrize("function", sorted(functions._rules(), key=_name), ids=_name)
def test_what_is_said_to_look_at_shapes_only_gives_the_same_for_other_elements(function: Callable[..., Any]) -> None:
    for seen in seen_calls(function, _FORMS.get(function, _forms)()):
        if not behaviour_of_function(function, seen.args, seen.kwargs).reads:
            assert_reads_no_element(function, seen)


_NEED_A_DEVICE = frozenset("cuda xpu ipu pin_memory".split())
_NAMED = frozenset("rename refine_names align_to align_as has_names names".split())
"""What tensors with names for their dimensions have; torch has them no more, or warns of them."""

_NOT_DEFINED = frozenset(["__imatmul__"])
"""What Python looks for, and neither torch nor Python's containers have: `@=` makes a new tensor."""

_OWNERS: dict[str, Callable[[], Any]] = {
    "tensor": _f,
    "bits": _bits,
    "number": lambda: torch.tensor(2),
    "mask": lambda: torch.tensor([True, False]),
    "complex": lambda: torch.ones(2, dtype=torch.complex64),
    "int": lambda: 2,
    "text": lambda: "ab",
    "leaf": lambda: _f().requires_grad_(),
    "list": lambda: [_f(), _f()],
    "dict": lambda: {"a": _f()},
    "ordered": lambda: collections.OrderedDict(a=_f()),
    "set": lambda: {1, 2},
    "deque": lambda: collections.deque([_f()]),
    "iterator": lambda: iter([_f()]),
    "record": lambda: _Pair(_f(), _f()),
    "context": FunctionCtx,
}


def _short_forms() -> list[Args]:
    ones = (_f(), _bits(), 1, 2.0, [_f()], "a", {"b": _f()}, {1})
    return [(), *((each,) for each in ones), (0, _f()), ("b", _f())]


_METHOD_FORMS: dict[str, Callable[[], list[Args]]] = {
    "register_hook": lambda: [(len,)],
    "index": lambda: [("a",)],
    "join": lambda: [(["a"],)],
    "strip": lambda: [()],
    "replace": lambda: [("a", "b")],
    "type": lambda: [(), ("torch.FloatTensor",), (torch.float32,)],
    "to": lambda: [("cpu",), (torch.float32,), (_f(),)],
    "resize": lambda: [(4,)],
    "resize_as": lambda: [(_f(4),)],
    "as_subclass": lambda: [(nn.Parameter,)],
    "__format__": lambda: [("",)],
    "__delitem__": lambda: [(0,), ("a",)],
    "setdefault": lambda: [("b", _f())],
    "update": lambda: [({"b": _f()},), ([3],)],
    "insert": lambda: [(0, _f())],
    "save_for_backward": lambda: [(_f(),)],
}


def _calls_of_method(name: str) -> Iterator[tuple[str, Seen]]:
    for kind, make in _OWNERS.items():
        forms = _METHOD_FORMS.get(name, _short_forms)() if hasattr(make(), name) else []
        for args in forms:
            for seen in seen_calls(_method(name), [(make(), *args)]):
                if seen.result is not NotImplemented:
                    yield kind, seen


def _method(name: str) -> Callable[..., Any]:
    return lambda owner, *args, **kwargs: getattr(owner, name)(*args, **kwargs)


_METHODS = sorted(
    methods._SHAPE_METHODS
    | methods._CONVERSIONS
    | methods._CONTAINER_VIEWS
    | methods._CONTAINER_WRITES
    | methods._CONTAINER_STORES
    | methods._IN_PLACE_OPERATORS
    | methods._CONCATENATIONS
    | {f"__{name}__" for name in methods._ARITHMETIC | methods._NUMBERS}
    | {f"__r{name}__" for name in methods._ARITHMETIC if hasattr(Tensor, f"__r{name}__")}
    | methods._NUMBER_METHODS
    | methods._WITHOUT_SCHEMA
    | {"__getitem__", "__setitem__", "__pos__", "new"}
)
_CALLABLE = [name for name in _METHODS if name not in _NEED_A_DEVICE | _NAMED]


@pytest.mark.parametrize("name", _CALLABLE)
def test_a_method_does_no_more_than_is_said_of_it(name: str) -> None:
    calls = list(_calls_of_method(name))
    assert bool(calls) != (name in _NOT_DEFINED)
    for owner, seen in calls:
        assert_allowed(seen, behaviour_of_method(name, seen.args, seen.kwargs), f"{name} of a {owner}")


@pytest.mark.parametrize("name", sorted(_NEED_A_DEVICE))
def test_a_method_that_needs_a_device_is_one_of_tensors_and_may_return_the_tensor(name: str) -> None:
    assert hasattr(Tensor, name)
    assert behaviour_of_method(name, ("x",), {}).returns == {0}


@pytest.mark.parametrize("name", sorted(methods._SHAPE_METHODS - {"register_hook"}))
def test_a_method_that_looks_at_shapes_only_gives_the_same_for_other_elements(name: str) -> None:
    assert behaviour_of_method(name, ("x",), {}) == SHAPE_ONLY
    for _, seen in _calls_of_method(name):
        assert_reads_no_element(_method(name), seen)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("name", sorted(methods._CONVERSIONS - _NEED_A_DEVICE - _NAMED - {"to_mkldnn"}))
def test_a_conversion_to_what_the_tensor_is_already_gives_its_memory(name: str) -> None:
    types = {
        "half": torch.half,
        "float": torch.float,
        "cfloat": torch.cfloat,
        "chalf": torch.chalf,
        "byte": torch.uint8,
    }
    types |= {each: getattr(torch, each) for each in "double bfloat16 int long short bool cdouble".split()}
    tensor = torch.zeros(2, 2, dtype=types.get(name, torch.int8 if name == "char" else torch.float))
    forms = [each for each in _METHOD_FORMS.get(name, lambda: [()])() if name != "type" or each]
    for args in forms:
        seen = see(_method(name), tensor, *args)
        assert 0 in seen.returns
        assert behaviour_of_method(name, seen.args, {}).returns == {0}


@pytest.mark.parametrize("name", sorted(methods._IN_PLACE_OPERATORS - _NOT_DEFINED))
def test_an_in_place_operator_writes_its_tensor_and_gives_it_back(name: str) -> None:
    tensor = torch.tensor([12.0, 14.0]) if "div" in name else torch.tensor([12, 14])
    seen = see(_method(name), tensor, 2)
    said = behaviour_of_method(name, seen.args, {})
    assert seen.result is tensor
    assert seen.writes == seen.returns == said.writes == said.returns == {0}


@pytest.mark.parametrize("name", sorted(methods._CONTAINER_WRITES | methods._CONTAINER_STORES))
def test_a_method_that_changes_a_container_changes_it(name: str) -> None:
    containers = ("list", "dict", "ordered", "set", "deque", "context")
    seen = [seen for owner, seen in _calls_of_method(name) if owner in containers]
    said = behaviour_of_method(name, ("x", "y"), {})
    assert said.rebuilds
    assert said.writes == {0}
    assert any(each.writes == {0} for each in seen) or name == "save_for_backward"
    kept = any(memory_of(each.args[0]) & memory_of(list(each.args[1:])) for each in seen)
    assert kept == said.links or name in ("remove", "save_for_backward")


@pytest.mark.parametrize("name", sorted(methods._CONTAINER_VIEWS))
def test_a_method_that_looks_into_a_container_gives_what_it_holds(name: str) -> None:
    seen = [seen for _, seen in _calls_of_method(name)]
    assert any(each.returns for each in seen) or name in ("index", "keys", "__next__", "_replace")
    assert behaviour_of_method(name, ("x", "y"), {}).returns == {0, 1}


def _owners_of(name: str) -> list[Any]:
    owners = [*(make() for make in _OWNERS.values()), Tensor, nn.Linear(2, 2)]
    return [owner for owner in owners if hasattr(owner, name)]


@pytest.mark.parametrize("name", sorted(methods.SHAPE_ATTRIBUTES - methods.WRITTEN_ATTRIBUTES - _NAMED))
def test_an_attribute_of_the_shape_is_the_same_for_other_elements(name: str) -> None:
    owners = _owners_of(name)
    assert owners
    assert behaviour_of_function(getattr, (_f(), name), {}) == SHAPE_ONLY
    assert methods.kind_of_attribute(name, "tensor") == "none"
    for owner in owners:
        seen = see(getattr, owner, name)
        assert_allowed(seen, SHAPE_ONLY, name)
        assert_reads_no_element(getattr, seen)


@pytest.mark.parametrize("name", sorted(methods.WRITTEN_ATTRIBUTES))
def test_an_attribute_that_a_write_changes_reads_what_was_written(name: str) -> None:
    tensor, other = _f(), _f().requires_grad_()
    before = getattr(tensor, name)
    tensor.add_(other)
    assert getattr(tensor, name) != before
    assert behaviour_of_function(getattr, (tensor, name), {}) == NO_TENSOR
    assert methods.kind_of_attribute(name, "tensor") == "none"


@pytest.mark.parametrize("name", sorted(methods._TENSOR_VIEW_ATTRIBUTES))
def test_an_attribute_that_is_a_view_is_a_tensor_on_the_same_memory(name: str) -> None:
    seen = see(getattr, torch.zeros(2, 2, dtype=torch.complex64), name)
    assert isinstance(seen.result, Tensor)
    assert seen.returns == {0} == behaviour_of_function(getattr, seen.args, {}).returns
    assert methods.kind_of_attribute(name, "tensor") == "tensor"
    assert methods.kind_of_attribute(name, "any") == "any"
